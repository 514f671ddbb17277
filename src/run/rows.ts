import type { SQLOutputValue } from 'node:sqlite';
import type { Blame, Feedback, Outcome } from '../types/feedback.ts';
import type { ToolCall, ToolResult } from '../types/tool.ts';
import type { Action, Trajectory } from '../types/trajectory.ts';
import type { InputRow, OutputRow } from './database.ts';
import { fromStored } from './stored-text.ts';

/**
 * Where a play belongs: a training step, or a label such as `eval:base`.
 */
export type Scope = number | string;

/** The trajectory an action was played in: its id without the last part (`step/task/sample/turn`). */
function trajectoryIdOf(actionId: string): string {
  return actionId.slice(0, Math.max(0, actionId.lastIndexOf('/')));
}

export function actionToRow(scope: Scope, action: Action): InputRow {
  return {
    id: action.id,
    scope: String(scope),
    trajectory: trajectoryIdOf(action.id),
    parent: action.parent ?? null,
    agent: action.agent,
    role: action.role,
    policy: action.policy.id,
    policy_version: action.policy.version,
    turn: action.turn,
    seed: action.seed,
    observation: bytesOf(action.observation),
    observation_text: action.observationText,
    tokens: bytesOf(action.tokens),
    logprobs: bytesOf(action.logprobs),
    behaviour_logprobs: action.behaviourLogprobs ? bytesOf(action.behaviourLogprobs) : null,
    text: action.text,
    tool_calls: JSON.stringify(action.toolCalls),
    tool_results: JSON.stringify(action.toolResults),
    stop: action.stop,
  };
}

export function rowToAction(row: OutputRow): Action {
  const parent = optionalText(row.parent);
  return {
    id: text(row.id),
    ...(parent === undefined ? {} : { parent }),
    agent: text(row.agent),
    role: text(row.role),
    policy: { id: text(row.policy), version: Number(row.policy_version) },
    turn: Number(row.turn),
    seed: Number(row.seed),
    observation: new Int32Array(bufferOf(row.observation)),
    observationText: text(row.observation_text),
    tokens: new Int32Array(bufferOf(row.tokens)),
    logprobs: new Float32Array(bufferOf(row.logprobs)),
    ...(row.behaviour_logprobs instanceof Uint8Array && {
      behaviourLogprobs: new Float32Array(bufferOf(row.behaviour_logprobs)),
    }),
    text: text(row.text),
    toolCalls: JSON.parse(text(row.tool_calls)) as ToolCall[],
    toolResults: JSON.parse(text(row.tool_results)) as ToolResult[],
    stop: row.stop === 'length' ? 'length' : 'stop',
  };
}

export function trajectoryToRow(scope: Scope, trajectory: Trajectory): InputRow {
  return {
    id: trajectory.id,
    scope: String(scope),
    task_id: trajectory.taskId,
    sample: trajectory.sample,
    actions: JSON.stringify(trajectory.actions.map((action) => action.id)),
    answer: trajectory.answer ?? null,
    failure_boundary: trajectory.failure?.boundary ?? null,
    failure_message: trajectory.failure?.message ?? null,
  };
}

/** @param actionOf finds a recorded action by its id */
export function rowToTrajectory(row: OutputRow, actionOf: (id: string) => Action): Trajectory {
  const answer = optionalText(row.answer);
  const boundary = optionalText(row.failure_boundary);
  const actionIds = JSON.parse(text(row.actions)) as string[];
  return {
    id: text(row.id),
    taskId: text(row.task_id),
    sample: Number(row.sample),
    actions: actionIds.map(actionOf),
    ...(answer === undefined ? {} : { answer }),
    ...(boundary === undefined
      ? {}
      : { failure: { boundary, message: text(row.failure_message) } }),
  };
}

export function feedbackToRow(feedback: Feedback): InputRow {
  const scored = feedback.kind === 'scored' ? feedback : undefined;
  return {
    action_id: feedback.actionId,
    kind: feedback.kind,
    score: scored?.score ?? null,
    reason: scored?.reason ?? null,
    blame: scored?.blame ?? null,
    blamed_agent: scored?.blamedAgent ?? null,
    answer_correct: scored?.answerCorrect === undefined ? null : Number(scored.answerCorrect),
    cause: feedback.kind === 'unscored' ? feedback.cause : null,
  };
}

export function rowToFeedback(row: OutputRow): Feedback {
  const actionId = text(row.action_id);
  if (row.kind === 'unscored') return { kind: 'unscored', actionId, cause: text(row.cause) };
  const blamedAgent = optionalText(row.blamed_agent);
  return {
    kind: 'scored',
    actionId,
    score: Number(row.score),
    reason: text(row.reason),
    blame: text(row.blame) as Blame,
    ...(blamedAgent === undefined ? {} : { blamedAgent }),
    ...(row.answer_correct === null ? {} : { answerCorrect: row.answer_correct === 1 }),
  };
}

export function outcomeToRow(outcome: Outcome): InputRow {
  return {
    trajectory_id: outcome.trajectoryId,
    correct: outcome.correct ? 1 : 0,
    extracted: outcome.extracted ?? null,
    measures: outcome.measures === undefined ? null : JSON.stringify(outcome.measures),
  };
}

export function rowToOutcome(row: OutputRow): Outcome {
  const extracted = optionalText(row.extracted);
  const measures = optionalText(row.measures);
  return {
    trajectoryId: text(row.trajectory_id),
    correct: row.correct === 1,
    ...(extracted === undefined ? {} : { extracted }),
    ...(measures === undefined
      ? {}
      : { measures: JSON.parse(measures) as Readonly<Record<string, number>> }),
  };
}

/** One graded play of an evaluation; `trajectoryId` is `eval:<name>/task/sample`. */
export type EvaluationRow = Outcome & { readonly taskId: string; readonly sample: number };

export function evaluationToRow(name: string, row: EvaluationRow): InputRow {
  return { name, task_id: row.taskId, sample: row.sample, ...outcomeToRow(row) };
}

export function rowToEvaluation(row: OutputRow): EvaluationRow {
  return { taskId: text(row.task_id), sample: Number(row.sample), ...rowToOutcome(row) };
}

export function text(value: SQLOutputValue | undefined): string {
  return typeof value === 'string' ? fromStored(value) : '';
}

export function optionalText(value: SQLOutputValue | undefined): string | undefined {
  return typeof value === 'string' ? fromStored(value) : undefined;
}

export function bytesOf(numbers: Int32Array | Float32Array): Uint8Array {
  return new Uint8Array(numbers.buffer, numbers.byteOffset, numbers.byteLength);
}

/** A copy that starts at offset 0, as typed arrays of four-byte numbers need. */
export function bufferOf(value: SQLOutputValue | undefined): ArrayBuffer {
  const bytes = value instanceof Uint8Array ? value : new Uint8Array();
  return new Uint8Array(bytes).buffer;
}
