import type { ToolCall, ToolResult } from './tool.ts';

/** One agent's one turn: the unit that a coach scores and a policy is trained on. */
export type Action = {
  /** Unique in a run: `step/task/sample/turn`. */
  readonly id: string;
  /** The action played just before it in the same trajectory; absent for the first. */
  readonly parent?: string;
  readonly agent: string;
  readonly role: string;
  /** The policy that was sampled, and how many optimiser steps it had taken. */
  readonly policy: { readonly id: string; readonly version: number };
  /** Position in the trajectory, from 0. */
  readonly turn: number;
  readonly seed: number;
  /** Token ids the policy was conditioned on. */
  readonly observation: Int32Array;
  /** The observation as text, special tokens included: what a coach is shown. */
  readonly observationText: string;
  /** Token ids as sampled, the stop token included when `stop` is `stop`. */
  readonly tokens: Int32Array;
  /** Log-probability of each sampled token under the policy, recorded by the sampler (temperature 1, unfiltered). */
  readonly logprobs: Float32Array;
  /** Of each sampled token after temperature and filters; absent where those change nothing. */
  readonly behaviourLogprobs?: Float32Array;
  /** The sampled tokens as text, without the stop token. */
  readonly text: string;
  readonly toolCalls: readonly ToolCall[];
  readonly toolResults: readonly ToolResult[];
  readonly stop: 'stop' | 'length';
};

/** Why a play ended early; such a trajectory is counted and never trained on. */
export type Failure = {
  readonly boundary: string;
  readonly message: string;
};

/** The path of actions of one play of one task. */
export type Trajectory = {
  /** `step/task/sample`. */
  readonly id: string;
  readonly taskId: string;
  readonly sample: number;
  readonly actions: readonly Action[];
  /** What the team answered, as text; absent when the play failed. */
  readonly answer?: string;
  readonly failure?: Failure;
};
