import { z } from 'zod';

const share = z.number().min(0).max(1);
const positive = z.number().positive();

const tinkerService = z.strictObject({
  kind: z.literal('tinker'),
  /** Where the server listens, without `/api/v1`. */
  url: z.url(),
  /** Which kind of server it is: kinds differ in what they do with the same request. */
  server: z.enum(['skyrl-jax', 'skyrl-megatron', 'tinker', 'tuft']),
  /** The model that it serves, by the name it has there; `model.path` holds its config and tokenizer. */
  baseModel: z.string().min(1),
  /** What the server was started with, where it steps with AdamW numbers of its own. */
  adam: z
    .strictObject({
      beta1: share.optional(),
      beta2: share.optional(),
      eps: positive.optional(),
      weightDecay: z.number().nonnegative().optional(),
      maxGradNorm: z.union([positive, z.literal(false)]).optional(),
    })
    .optional(),
});

/** The engine of this process, or a server of the Tinker protocol. */
export const service = z.union(
  [z.literal('local'), tinkerService],
  'expected "local", or tinker({ url, server, baseModel }) with server "skyrl-jax", "skyrl-megatron", "tinker" or "tuft"',
);

const vllmSampler = z.strictObject({
  kind: z.literal('vllm'),
  /** Where the server listens, without `/v1`. */
  url: z.url(),
  /** The base, by the name that the server serves it under. */
  baseModel: z.string().min(1),
  /** A folder that this process and the server see under one path: adapters are handed over in it. */
  directory: z.string().min(1),
});

/** The engine that trains, or a vLLM server that is given every version of every adapter. */
export const sampler = z.union(
  [z.literal('service'), vllmSampler],
  'expected "service", or vllm({ url, baseModel, directory })',
);

/** Has the policies that this process trains sampled by a vLLM server. */
export function vllm(
  options: Omit<z.input<typeof vllmSampler>, 'kind'>,
): z.input<typeof vllmSampler> {
  return { kind: 'vllm', ...options };
}

/** Has a run sampled and trained by a server of the Tinker protocol: hosted Tinker, SkyRL, TuFT. */
export function tinker(
  options: Omit<z.input<typeof tinkerService>, 'kind'>,
): z.input<typeof tinkerService> {
  return { kind: 'tinker', ...options };
}
