// Draws measurements that have a goal as one picture: a bar each, as long as the goal is reached, on a scale whose steps
// double. Met or not is told by words and shape as well as by colour; the picture has its own background, so it reads the
// same on light and dark pages.
import { quantity } from "./quantity.ts";
import type { Measured } from "./row.ts";

const WIDTH = 1080;
const LABEL_WIDTH = 490;
const FIGURES_WIDTH = 225;
const ROW_HEIGHT = 30;
const HEAD_HEIGHT = 76;
const FOOT_HEIGHT = 40;
/** Doublings shown on either side of the goal. */
const DOUBLINGS = 2;
const COLORS = {
  paper: "#fbfaf7",
  ink: "#1d2733",
  faint: "#667380",
  line: "#d9d6cd",
  met: "#1f7a66",
  missed: "#b4552d",
};

/** @param footer date, machine, command. */
export function picture(rows: readonly Measured[], footer: string): string {
  const judged = rows.filter(({ margin }) => margin !== undefined);
  const height = HEAD_HEIGHT + judged.length * ROW_HEIGHT + FOOT_HEIGHT;
  const met = judged.filter((row) => row.met).length;
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}" role="img" aria-label="${met} of ${judged.length} goals reached" font-family="ui-sans-serif, system-ui, sans-serif" font-size="13" fill="${COLORS.ink}">
<rect width="${WIDTH}" height="${height}" rx="8" fill="${COLORS.paper}"/>
<text x="20" y="30" font-size="17" font-weight="600">What Tidemark costs: ${met} of ${judged.length} goals reached</text>
<text x="20" y="50" fill="${COLORS.faint}">a bar that reaches the line reaches its goal; each step of the scale is twice as good</text>
${scale(height)}
${judged.map(bar).join("\n")}
<text x="20" y="${height - 16}" font-size="11" fill="${COLORS.faint}">${escaped(footer)}</text>
</svg>
`;
}

function scale(height: number): string {
  const lines: string[] = [];
  for (let step = -DOUBLINGS; step <= DOUBLINGS; step++) {
    const x = xOf(2 ** step);
    const isGoal = step === 0;
    const name = isGoal ? "goal" : step < 0 ? `1/${2 ** -step}` : `${2 ** step}×`;
    const stroke = isGoal ? `stroke="${COLORS.ink}" stroke-width="1.5"` : `stroke="${COLORS.line}"`;
    lines.push(
      `<line x1="${x}" x2="${x}" y1="${HEAD_HEIGHT - 6}" y2="${height - FOOT_HEIGHT}" ${stroke}/>`,
      `<text x="${x}" y="${HEAD_HEIGHT - 10}" text-anchor="middle" font-size="11" fill="${COLORS.faint}">${name}</text>`,
    );
  }
  return lines.join("\n");
}

function bar(row: Measured, index: number): string {
  const { margin = 1, met } = row;
  const y = HEAD_HEIGHT + index * ROW_HEIGHT;
  const [from, to] = [LABEL_WIDTH, xOf(margin)];
  const color = met ? COLORS.met : COLORS.missed;
  const fill = met ? color : "none";
  const bars = `<rect x="${from}" y="${y + 7}" width="${Math.max(2, to - from)}" height="14" rx="3" fill="${fill}" stroke="${color}" stroke-width="1.5"/>`;
  const figures = `${figuresOf(row)} <tspan font-weight="600" fill="${color}">${met ? "✓ met" : "✗ not met"}</tspan>`;
  return `<text x="${LABEL_WIDTH - 12}" y="${y + 19}" text-anchor="end">${escaped(shortened(row.row))}</text>
${bars}
<text x="${WIDTH - FIGURES_WIDTH + 4}" y="${y + 19}" font-size="12">${figures}</text>`;
}

/** What the goal is about: a ratio, or the value. */
function figuresOf({ ratio, value, unit, goal = "" }: Measured): string {
  const isOfValue = /[a-zµ]/i.test(goal);
  return `${isOfValue ? quantity(value, unit) : ratio.toFixed(2)} (${escaped(goal)})`;
}

function xOf(margin: number): number {
  const doublings = Math.max(-DOUBLINGS, Math.min(DOUBLINGS, Math.log2(margin)));
  const width = WIDTH - LABEL_WIDTH - FIGURES_WIDTH - 16;
  return Math.round(LABEL_WIDTH + ((doublings + DOUBLINGS) / (2 * DOUBLINGS)) * width);
}

const LABEL_CHARS_MAX = 70;

function shortened(text: string): string {
  return text.length <= LABEL_CHARS_MAX ? text : `${text.slice(0, LABEL_CHARS_MAX - 1)}…`;
}

function escaped(text: string): string {
  return text
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;")
    .replaceAll('"', "&quot;");
}
