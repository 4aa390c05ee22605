// A small .proto file for a test. Its comment names another package, which nobody must take for its own.
export function protoFile(packageName: string, body: string, imports: readonly string[] = []): string {
  const importLines = imports.map((name) => `import "${name}";\n`).join("");
  return `syntax = "proto3";\n// package decoy.v1;\npackage ${packageName};\n${importLines}${body}\n`;
}
