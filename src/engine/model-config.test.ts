import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { parseModelConfig, toHuggingFaceConfig } from './model-config.ts';

const fixtures = new URL('../../test/parity/fixtures/', import.meta.url);

function fixture(name: string): unknown {
  return JSON.parse(readFileSync(new URL(`${name}/config.json`, fixtures), 'utf8'));
}

const qwen25: Readonly<Record<string, unknown>> = {
  model_type: 'qwen2',
  vocab_size: 151936,
  hidden_size: 896,
  intermediate_size: 4864,
  num_hidden_layers: 24,
  num_attention_heads: 14,
  num_key_value_heads: 2,
  max_position_embeddings: 32768,
  max_window_layers: 21,
  rms_norm_eps: 1e-6,
  rope_theta: 1_000_000,
  sliding_window: 4096,
  use_sliding_window: false,
  tie_word_embeddings: true,
  torch_dtype: 'bfloat16',
  hidden_act: 'silu',
  eos_token_id: 151645,
};

describe('parseModelConfig', () => {
  it('reads the form of transformers 4', () => {
    expect(parseModelConfig(qwen25, 'config.json')).toEqual({
      architecture: 'qwen2',
      vocabSize: 151936,
      hiddenSize: 896,
      intermediateSize: 4864,
      layers: 24,
      heads: 14,
      keyValueHeads: 2,
      headDim: 64,
      maxPositions: 32768,
      ropeTheta: 1_000_000,
      ropeScaling: { kind: 'none' },
      rmsNormEps: 1e-6,
      initializerRange: 0.02,
      tieWordEmbeddings: true,
      attentionBias: true,
      outputBias: false,
      qkNorm: false,
      dtype: 'bfloat16',
      eosTokenIds: [151645],
    });
  });

  it('reads the form of transformers 5', () => {
    const { rope_theta: _theta, torch_dtype: _dtype, ...rest } = qwen25;
    const newer = {
      ...rest,
      rope_parameters: { rope_theta: 1_000_000, rope_type: 'default' },
      dtype: 'bfloat16',
    };
    expect(parseModelConfig(newer, 'x')).toEqual(parseModelConfig(qwen25, 'x'));
  });

  it('reads the rotary scaling of Llama 3', () => {
    expect(parseModelConfig(fixture('llama'), 'x')).toMatchObject({
      ropeTheta: 500_000,
      ropeScaling: {
        kind: 'llama3',
        factor: 8,
        lowFreqFactor: 1,
        highFreqFactor: 4,
        originalMaxPositions: 32,
      },
      dtype: 'bfloat16',
    });
  });

  it.each(['qwen3', 'qwen2', 'llama', 'llama2', 'mistral'])(
    'writes a %s configuration it reads back',
    (name) => {
      const config = parseModelConfig(fixture(name), name);
      expect(parseModelConfig(toHuggingFaceConfig(config), name)).toEqual(config);
    },
  );

  it.each([
    [{ model_type: 'gemma3' }, /model_type "gemma3" is not supported; supported are qwen3/],
    [{ model_type: 'toString' }, /model_type "toString" is not supported/],
    [{ hidden_act: 'gelu' }, /hidden_act "gelu"/],
    [{ num_experts: 8 }, /mixture of experts/],
    [{ use_sliding_window: true }, /sliding window of 4096 over 32768/],
    [{ layer_types: ['full_attention', 'sliding_attention'] }, /"sliding_attention"/],
    [{ rope_scaling: { rope_type: 'yarn', factor: 4 } }, /rope type "yarn"/],
    [{ rope_scaling: { type: 'linear' } }, /needs a number factor/],
    [{ rope_parameters: { full_attention: { rope_theta: 1e6 } } }, /of type "full_attention"/],
    [{ rope_parameters: { partial_rotary_factor: 0.5 } }, /partial_rotary_factor 0.5/],
    [{ quantization_config: { bits: 4 } }, /quantised/],
    [{ torch_dtype: 'float64' }, /dtype "float64"/],
    [{ num_key_value_heads: 4 }, /14 is not a multiple of num_key_value_heads 4/],
    [{ head_dim: 63 }, /head_dim 63/],
    [{ vocab_size: undefined }, /vocab_size/],
  ])('refuses %j and says why', (change, message) => {
    expect(() => parseModelConfig({ ...qwen25, ...change }, 'm/config.json')).toThrow(message);
    expect(() => parseModelConfig({ ...qwen25, ...change }, 'm/config.json')).toThrow(
      /m\/config\.json/,
    );
  });

  it('refuses the window of a Mistral that has one in use, and takes one without', () => {
    const mistral = { ...qwen25, model_type: 'mistral', use_sliding_window: undefined };
    expect(() => parseModelConfig(mistral, 'x')).toThrow(/sliding window of 4096/);
    expect(parseModelConfig({ ...mistral, sliding_window: null }, 'x').attentionBias).toBe(false);
  });
});
