/**
 * The protocol server in a process of its own, which can be killed: prints its address, then the path of every request
 * before it is answered. Arguments: kind, model folder, folder of saved states, port (0 = one that is free).
 */
import { writeSync } from 'node:fs';
import type { ServerKind } from '../../../src/service/tinker/profile.ts';
import { startTinkerServer } from './tinker-server.ts';

const [kind, modelDirectory = '', directory = '', port] = process.argv.slice(2);
const { url } = await startTinkerServer({
  kind: kind as ServerKind,
  engine: { modelDirectory, threads: 1 },
  ...{ directory, port: Number(port) },
  fault: ({ path }) => {
    writeSync(1, `${path}\n`);
    return undefined;
  },
});
writeSync(1, `${url}\n`);
