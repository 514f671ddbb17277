import { gradeTable, readAnswers } from '../dsbench/grade-table.ts';
import { metricNamed } from '../dsbench/metrics.ts';
import { BoundaryError } from '../errors.ts';
import { gradeMath } from '../task/grade-math.ts';
import { type Command, type Request, required } from './command.ts';

export const gradeCommand: Command = {
  summary: 'Grade an answer, or a table of predictions, against ground truth.',
  operands: [],
  options: {
    task: { type: 'string', help: 'kind of task: math or dsbench' },
    prediction: { type: 'string', help: 'math: the text that ends in the answer; dsbench: a CSV' },
    answer: { type: 'string', help: 'the ground truth; of dsbench a CSV file' },
    metric: { type: 'string', help: 'dsbench: for example roc_auc or rmsle' },
  },
  run: async (request) => {
    const kind = required(request, 'task');
    const grade = Object.hasOwn(graders, kind) ? graders[kind] : undefined;
    if (grade === undefined) {
      const known = Object.keys(graders).join(' or ');
      throw new BoundaryError('config', `--task: expected ${known}, got ${kind}`);
    }
    const graded = await grade(request);
    if (!request.json) console.log(JSON.stringify(graded));
    return graded;
  },
};

const graders: Readonly<Record<string, (request: Request) => Promise<object>>> = {
  math: async (request) => {
    const { extracted, correct } = gradeMath(
      required(request, 'prediction'),
      required(request, 'answer'),
    );
    return { extracted: extracted ?? null, correct };
  },
  dsbench: async (request) => {
    const metric = metricNamed(required(request, 'metric'));
    const answers = await readAnswers(required(request, 'answer'));
    const grade = await gradeTable(required(request, 'prediction'), answers, metric);
    const value = grade.success ? (grade.value ?? null) : null;
    return { success: grade.success, value, reason: grade.reason ?? null };
  },
};
