/** The same step in jax-js: forward, loss, backward, clipping and AdamW, compiled as one function. */
import {
  blockUntilReady,
  defaultDevice,
  init,
  jit,
  nn,
  numpy as np,
  random,
  tree,
  valueAndGrad,
} from '@jax-js/jax';

export async function prepare({ B, T, C, NH, V, loops, ids, device }) {
  if (!(await init(device)).includes(device)) throw new Error(`jax-js has no ${device} here`);
  defaultDevice(device);
  let seed = 0;
  const normal = (...shape) => random.normal(random.key(seed++), shape).mul(0.02);
  const zeros = (...shape) => np.zeros(shape);
  const linear = (from, to) => ({ w: normal(from, to), b: zeros(to) });
  const norm = () => ({ g: np.ones([C]), b: zeros(C) });
  let params = {
    wte: normal(V, C),
    wpe: normal(T, C),
    block: {
      ln1: norm(),
      qkv: linear(C, 3 * C),
      out: linear(C, C),
      ln2: norm(),
      up: linear(C, 4 * C),
      down: linear(4 * C, C),
    },
    lnf: norm(),
  };
  const apply = (x, { w, b }) => np.matmul(x, w.ref).add(b.ref);
  const normed = (x, { g, b }) => nn.standardize(x, -1).mul(g.ref).add(b.ref);
  const blockOf = (x, p) => {
    const heads = apply(normed(x.ref, p.ln1), p.qkv).reshape([B, T, 3, NH, C / NH]);
    const [q, k, v] = np.split(heads, 3, 2).map((part) => part.reshape([B, T, NH, C / NH]));
    const attended = nn.dotProductAttention(q, k, v, { isCausal: true }).reshape([B, T, C]);
    const y = x.add(apply(attended, p.out));
    return y.ref.add(apply(nn.gelu(apply(normed(y, p.ln2), p.up)), p.down));
  };
  const lossOf = (p, tokens, targets) => {
    let x = np.matmul(nn.oneHot(tokens, V), p.wte.ref).add(p.wpe.ref);
    for (let i = 0; i < loops; i++) x = blockOf(x, p.block);
    const logits = np.matmul(normed(x, p.lnf), np.transpose(p.wte.ref));
    tree.dispose(p);
    return nn
      .logSoftmax(logits, -1)
      .mul(nn.oneHot(targets, V))
      .sum()
      .mul(-1 / (B * T));
  };
  const [lr, beta1, beta2, eps, decay] = [6e-4, 0.9, 0.95, 1e-8, 0.1];
  const update = jit((p, m, v, tokens, targets) => {
    const [loss, grads] = valueAndGrad(lossOf)(tree.ref(p), tokens, targets);
    const squares = tree.leaves(tree.map((g) => np.square(g.ref).sum(), grads)).reduce((a, b) => a.add(b));
    const scale = np.minimum(np.reciprocal(np.sqrt(squares).add(1e-6)), 1);
    const clipped = tree.map((g) => g.mul(scale.ref), grads);
    scale.dispose();
    const nextM = tree.map((a, g) => a.mul(beta1).add(g.ref.mul(1 - beta1)), m, clipped);
    const nextV = tree.map((a, g) => a.mul(beta2).add(np.square(g).mul(1 - beta2)), v, clipped);
    const moved = tree.map(
      (a, mean, square) => a.mul(1 - lr * decay).sub(mean.ref.div(np.sqrt(square.ref).add(eps)).mul(lr)),
      p,
      nextM,
      nextV,
    );
    return [loss, moved, nextM, nextV];
  });
  let m = tree.map((a) => np.zerosLike(a.ref), params);
  let v = tree.map((a) => np.zerosLike(a.ref), params);
  let at = 0;
  const step = async () => {
    const rows = (shift) => {
      const picked = Int32Array.from(
        { length: B * T },
        (_, i) => ids[(at * 31 + Math.floor(i / T) * 977 + (i % T) + shift) % ids.length],
      );
      return np.array(picked).reshape([B, T]);
    };
    at++;
    let loss;
    [loss, params, m, v] = update(params, m, v, rows(0), rows(1));
    await blockUntilReady(params);
    return (await loss.data())[0];
  };
  return { name: `jax-js on ${device}`, step };
}
