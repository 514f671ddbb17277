import { BoundaryError } from '../errors.ts';
import { gradeMath } from '../task/grade-math.ts';
import { type Command, required } from './command.ts';

export const gradeCommand: Command = {
  summary: 'Grade an answer against ground truth and print what was read and whether it is right.',
  operands: [],
  options: {
    task: { type: 'string', help: 'kind of task: math' },
    prediction: { type: 'string', help: 'the text that ends in the answer' },
    answer: { type: 'string', help: 'the ground truth' },
  },
  run: async (request) => {
    const kind = required(request, 'task');
    if (kind !== 'math') {
      throw new BoundaryError('config', `--task: expected math, got ${kind}`);
    }
    const { extracted, correct } = gradeMath(
      required(request, 'prediction'),
      required(request, 'answer'),
    );
    const grade = { extracted: extracted ?? null, correct };
    if (!request.json) console.log(JSON.stringify(grade));
    return grade;
  },
};
