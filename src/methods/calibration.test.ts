import { expect, test } from 'vitest';
import { calibrationOf } from './calibration.ts';

test('accuracy, Brier score and calibration error, worked out by hand', () => {
  const judged = [
    { predicted: 0.92, isRight: true },
    { predicted: 0.98, isRight: false },
    { predicted: 0.1, isRight: false },
    { predicted: 0.15, isRight: false },
    { predicted: 0.4, isRight: true },
  ];
  const calibration = calibrationOf(judged);
  expect(calibration).toMatchObject({ answers: 5, right: 0.4, accuracy: 0.6, commoner: 0.6 });
  // Of the right ones one of two, of the wrong ones two of three.
  expect(calibration.balancedAccuracy).toBeCloseTo((1 / 2 + 2 / 3) / 2, 12);
  expect(calibration.brier).toBeCloseTo((0.0064 + 0.9604 + 0.01 + 0.0225 + 0.36) / 5, 12);
  // 0.9–1: two, mean 0.95, half right; 0.1–0.2: two, mean 0.125, none right; 0.4–0.5: one, right.
  expect(calibration.calibrationError).toBeCloseTo((2 * 0.45 + 2 * 0.125 + 0.6) / 5, 12);
});

test('a certain prediction has a range of its own kind, and one kind alone has no balance', () => {
  const calibration = calibrationOf([{ predicted: 1, isRight: true }]);
  expect(calibration).toMatchObject({ accuracy: 1, calibrationError: 0, brier: 0 });
  expect(calibration).not.toHaveProperty('balancedAccuracy');
  expect(() => calibrationOf([])).toThrow(RangeError);
});
