import { callNative } from './native.ts';
import type { Device } from './tensor.ts';

/** What a device was asked for once, to be asked for again without JavaScript. */
export type Recording = {
  /** Does it again, on the tensors that it was recorded with. */
  readonly replay: () => void;
  readonly dispose: () => void;
};

/** Records work on a device: CUDA graphs and their like. */
export type StepRecorder = {
  /** Runs `body` where it will be recorded, so that what is made once, such as a library's workspace, is there. */
  readonly rehearse: (body: () => void) => void;
  /**
   * Records what `body` asks for; nothing of it is done until it is replayed.
   *
   * @param body neither reads a tensor nor makes one from values of JavaScript, and keeps none that it makes
   * @throws BoundaryError("engine") when the device refuses; work that is not recorded goes on as before
   */
  readonly record: (body: () => void) => Recording;
};

/**
 * The recorder of a device.
 *
 * @param note told in one sentence when there is none
 * @returns undefined where libtorch cannot record what is asked of the device
 */
export function openStepRecorder(
  device: Device,
  note: (text: string) => void,
): StepRecorder | undefined {
  if (callNative('canRecord', device)) {
    return {
      rehearse: (body) => aside(device, body),
      record: (body) => recordingOf(aside(device, () => record(device, body))),
    };
  }
  note(
    `model.decodeGraphs changes nothing here: libtorch ${callNative('version')} has no graphs for the device ${device}, so every token is computed operator by operator`,
  );
  return undefined;
}

function aside<Result>(device: Device, body: () => Result): Result {
  callNative('stepAside', device);
  try {
    return body();
  } finally {
    callNative('stepBack');
  }
}

function record(device: Device, body: () => void): number {
  callNative('beginRecording', device);
  try {
    body();
  } catch (error) {
    callNative('abandonRecording');
    throw error;
  }
  return callNative('endRecording');
}

function recordingOf(id: number): Recording {
  return {
    replay: () => callNative('replayRecording', id),
    dispose: () => callNative('dropRecording', id),
  };
}
