import type { DataLimits } from '../local/check-data.ts';
import type { Decode } from '../local/stop-strings.ts';
import type { Connection } from './connection.ts';
import type { Gates } from './gate.ts';
import type { FixedAdam, Profile } from './profile.ts';
import type { Session } from './session.ts';
import type { Stopwatch } from './stopwatch.ts';

/** What the policies and samplers of one client share. */
export type ServerRoom = {
  readonly connection: Connection;
  readonly session: Session;
  readonly profile: Profile;
  /** Whether it takes compressed passes. */
  readonly isCompressed: boolean;
  readonly gates: Gates;
  /** Of optimiser steps, where the server has its own. */
  readonly fixedAdam: Partial<FixedAdam>;
  readonly baseModel: string;
  readonly limits: DataLimits;
  /** Absent = stop strings are refused. */
  readonly decode: Decode | undefined;
  /** Told what a person is to know. */
  readonly note: (text: string) => void;
  /** The next number for a sampler, unique in the session. */
  readonly nextSampler: () => number;
  readonly sampling: Stopwatch;
  readonly training: Stopwatch;
};
