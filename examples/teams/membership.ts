// Takes a person out of a team of the demo, or puts them in, as any program could: by one write to MongoDB. Tidemark
// sees it in the change stream, and the devices of that person lose or get the team's records.
//   npx node examples/teams/membership.ts revoke ben harbour 'mongodb://…'
//   npx node examples/teams/membership.ts grant ben harbour 'mongodb://…'
import { MongoClient } from "mongodb";

interface Membership {
  readonly _id: string;
  readonly userId: string;
  readonly teamId: string;
  readonly access: "READ" | "READ_WRITE";
}

const [action, userId, teamId, uri] = process.argv.slice(2);
if (!userId || !teamId || !uri || (action !== "revoke" && action !== "grant")) {
  console.error("Usage: membership.ts revoke|grant <person> <team> <MongoDB URI>");
  process.exit(2);
}

const client = new MongoClient(uri, { serverSelectionTimeoutMS: 5_000 });
try {
  const memberships = client
    .db(process.env["MONGODB_DB"] || "demo")
    .collection<Membership>("memberships", { writeConcern: { w: "majority" } });
  if (action === "revoke") {
    const { deletedCount } = await memberships.deleteMany({ userId, teamId });
    console.log(deletedCount > 0 ? `${userId} is out of ${teamId}` : `${userId} was not in ${teamId}`);
  } else {
    const membership = { userId, teamId, access: "READ_WRITE" } as const;
    await memberships.updateOne({ _id: `${teamId}-${userId}` }, { $set: membership }, { upsert: true });
    console.log(`${userId} is in ${teamId}`);
  }
} finally {
  await client.close();
}
