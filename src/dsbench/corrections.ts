/** What the published description of a task says, as far as we use it. */
export type Description = {
  readonly cleaned_prompt: string;
  readonly metric: string;
  readonly task_type: string;
  readonly target_column: string | readonly string[];
  readonly id_column: string;
};

/** Stands for every column of the answers but the id: `google-quest-challenge` has thirty. */
const allTargets: readonly string[] = [];

/**
 * What is wrong in the published `dsbench_modeling_cleaned_prompts.json`, by task. That `data_type` is wrong for seven
 * tasks in the task files needs no entry: the description's `task_type` counts, here and everywhere.
 */
export const corrections: Readonly<Record<string, Partial<Description>>> = {
  // Describes Spaceship Titanic, another competition with other columns.
  titanic: {
    cleaned_prompt: `Task: Predict whether a passenger survived the sinking of the Titanic.

Evaluation: Accuracy - higher is better.

Submission Format:
PassengerId,Survived
892,0
893,1
(predict 0 or 1)

Dataset:
- Pclass: ticket class, 1 to 3
- Name, Sex, Age in years
- SibSp: siblings and spouses aboard; Parch: parents and children aboard
- Ticket, Fare, Cabin
- Embarked: port of embarkation (C, Q, S)
- Survived: 0 = no, 1 = yes (TARGET)

Files:
- train.csv: passengers for training
- test.csv: passengers for prediction`,
    metric: 'accuracy',
    task_type: 'classification',
    target_column: 'Survived',
    id_column: 'PassengerId',
  },
  // Has no entry.
  'liverpool-ion-switching': {
    cleaned_prompt: `Task: Predict the number of open ion channels at each time from an electrical signal.

Evaluation: Macro F1 over the values of open_channels - higher is better.

Submission Format:
time,open_channels
500.0000,0
500.0001,2
(predict a whole number)

Dataset:
- time: seconds; the data is in batches of 50 seconds at 10 kHz that do not continue one another
- signal: the measured current
- open_channels: the number of open channels (TARGET)

Files:
- train.csv: times for training
- test.csv: times for prediction`,
    metric: 'f1_macro',
    task_type: 'classification',
    target_column: 'open_channels',
    id_column: 'time',
  },
  // Names no columns.
  'google-quest-challenge': { target_column: allTargets },
};
