import { z } from 'zod';

const mappaMethod = z.strictObject({ kind: z.literal('mappa') });

const methods = z.discriminatedUnion('kind', [mappaMethod], 'expected mappa');

/** Who plays, who judges and what is trained on: a method with its options, or its bare name for the defaults. */
export const methodSchema = z.preprocess(
  (value) => (typeof value === 'string' ? { kind: value } : value),
  methods,
);

/** A method as a run works with it, every option resolved. */
export type MethodChoice = z.output<typeof methodSchema>;

/** A method as a config names it. */
export type MethodInput = MethodChoice['kind'] | z.input<typeof methods>;
