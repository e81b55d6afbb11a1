"""Checks what `python/modeling_loopnn.py` does with each argument of `forward` and `generate`; part of check_huggingface.py.

With one loop a loop network has no gates and is GPT-2: with a GPT-2's weights it must give what `GPT2LMHeadModel` gives for the
same arguments. With more loops, `generate` must be greedy decoding by hand. What the model has no use for must be refused.
"""

import copy
import inspect
import sys

import torch
from checks import BEFORE_5, check, load, loopnn, refused, same, unless_before_5
from transformers import AutoTokenizer, DynamicCache, GenerationConfig, StaticCache, pipeline

CLOSE = 1e-5
NEW = 12
# Loops of the network that is checked, and the counts that it is run with.
TRAINED = 3
COUNTS = (1, 2, TRAINED, TRAINED + 2)


def as_loop_network(gpt2, loop):
    """A loop network of one loop with a GPT-2's weights."""
    fields = ("vocab_size", "n_positions", "n_embd", "n_layer", "n_head")
    own = {name: getattr(gpt2.config, name) for name in fields}
    twin = type(loop)(type(loop.config)(**own, n_loop=1, n_inner_loop=1)).eval()
    weights = {name: value for name, value in gpt2.state_dict().items() if name in twin.state_dict()}
    twin.load_state_dict(weights)
    return twin


class Arguments:
    """Calls models, and remembers which arguments were tried."""

    def __init__(self):
        self.tried = set()

    def call(self, model, **arguments):
        self.tried.update(arguments)
        with torch.no_grad():
            return model(**arguments)


def distance(a, b):
    return (a - b).abs().max().item()


def forward_as_gpt2(arguments, twin, gpt2, ids):
    B, T = ids.shape
    causal = torch.ones(T, T, dtype=torch.bool).tril()[None, None].repeat(B, 1, 1, 1)
    window = causal & ~causal.tril(-4)
    packed = torch.tensor([[*range(5), *range(T - 5)]])
    masked = ids.clone()
    masked[0, :7] = -100
    cases = {
        "position_ids": {"position_ids": torch.arange(3, 3 + T)[None]},
        "position_ids of two texts in a row": {"position_ids": packed, "use_cache": False},
        "attention_mask of 4 dimensions": {"attention_mask": window},
        "attention_mask that is added": {
            "attention_mask": torch.zeros(B, 1, T, T).masked_fill(~window, -1e9)
        },
        "token_type_ids of zeros": {"token_type_ids": torch.zeros_like(ids)},
        "use_cache": {"use_cache": True},
        "labels": {"labels": masked},
        "num_items_in_batch": {"labels": masked, "num_items_in_batch": 17},
        "num_items_in_batch as a tensor": {"labels": masked, "num_items_in_batch": torch.tensor(17)},
        "num_items_in_batch as DataParallel gives it": {
            "labels": masked,
            "num_items_in_batch": torch.tensor([[17]]),
        },
        "shift_labels": {"labels": ids, "shift_labels": masked},
    }
    for name, given in cases.items():
        ours, theirs = (
            arguments.call(twin, input_ids=ids, **given),
            arguments.call(gpt2, input_ids=ids, **given),
        )
        if name.startswith("token_type_ids"):  # GPT-2 adds an embedding of theirs
            theirs = gpt2(ids)
        check(f"as GPT-2, {name}: logits", distance(ours.logits, theirs.logits), CLOSE)
        if "labels" in given:
            same(f"as GPT-2, {name}: the loss's shape", ours.loss.shape, theirs.loss.shape)
            check(f"as GPT-2, {name}: loss", distance(ours.loss, theirs.loss), CLOSE)
    plain = gpt2(ids).logits
    check(
        "packed texts are read apart",
        distance(
            arguments.call(twin, input_ids=ids, position_ids=packed).logits[:, 5:], twin(ids[:, 5:]).logits
        ),
        CLOSE,
    )
    embeds = gpt2.get_input_embeddings()(ids)
    check(
        "as GPT-2, inputs_embeds", distance(arguments.call(twin, inputs_embeds=embeds).logits, plain), CLOSE
    )
    alone = arguments.call(twin, input_ids=ids, shift_labels=masked).loss
    check("shift_labels without labels", distance(alone, twin(ids, labels=ids, shift_labels=masked).loss), 0)
    rows = torch.arange(B)[:, None]
    some, chosen = torch.tensor([[0, 3], [2, 5]]), torch.rand(B, T) < 0.5
    kept = {
        "none is all": (0, plain),
        "a number": (3, plain[:, -3:]),
        "positions": (some[0], plain[:, some[0]]),
        "positions of each row": (some, plain[rows, some]),
        "a mask": (chosen, plain[chosen]),
    }
    for name, (keep, expected) in kept.items():
        found = arguments.call(twin, input_ids=ids, logits_to_keep=keep).logits
        same(f"logits_to_keep, {name}: shape", found.shape, expected.shape)
        check(f"logits_to_keep, {name}", distance(found, expected), CLOSE)
    asked = {"input_ids": ids, "output_hidden_states": True}
    ours, theirs = (arguments.call(model, **asked).hidden_states for model in (twin, gpt2))
    same("as GPT-2, how many hidden states", len(ours), len(theirs))
    check("as GPT-2, hidden states", max(map(distance, ours, theirs)), CLOSE)
    twin.config.output_hidden_states = True
    same("output_hidden_states of the configuration", len(twin(ids).hidden_states), len(theirs))
    twin.config.output_hidden_states = False
    as_tuple = arguments.call(twin, input_ids=ids, labels=masked, return_dict=False, output_attentions=False)
    same("return_dict=False gives a tuple", [type(as_tuple), len(as_tuple)], [tuple, 2])
    check("of loss and logits", distance(as_tuple[1], plain), CLOSE)


def generate_as_gpt2(twin, gpt2, ids):
    padded = torch.cat([torch.zeros(2, 4, dtype=torch.long), ids], dim=1)
    padded[1, :6] = 0
    seen = (torch.arange(padded.shape[1])[None] >= torch.tensor([[4], [6]])).long()
    negative = {
        "negative_prompt_ids": ids[:, :5],
        "negative_prompt_attention_mask": torch.ones(2, 5, dtype=torch.long),
    }
    cases = {
        "greedy": {},
        "use_cache": {"use_cache": True},
        "padding on the left": {"input_ids": padded, "attention_mask": seen},
        "position_ids": {"position_ids": torch.arange(4, 4 + ids.shape[1])[None].repeat(2, 1)},
        "inputs_embeds": {"input_ids": None, "inputs_embeds": gpt2.transformer.wte(ids)},
        "beams": {"num_beams": 3, "num_return_sequences": 2},
        "beams of padded texts": {"num_beams": 3, "input_ids": padded, "attention_mask": seen},
        "sampling": {"do_sample": True, "top_k": 20, "num_return_sequences": 2},
        "static cache": {"cache_implementation": "static"},
        "guidance": {"guidance_scale": 1.5},
        "guidance by another text": {"guidance_scale": 2.0, **negative},
        "repetition penalty": {"repetition_penalty": 1.3},
    }
    cases = unless_before_5(cases, "position_ids", "does not go on with them")
    for name, given in cases.items():
        settings = {"input_ids": ids, "do_sample": False, "max_new_tokens": NEW, "pad_token_id": 0, **given}
        made = []
        for model in (twin, gpt2):
            torch.manual_seed(3)
            made.append(model.generate(**settings))
        same(f"generate as GPT-2, {name}", *made)
    config = GenerationConfig(max_new_tokens=NEW, do_sample=False, pad_token_id=0, use_cache=True)
    same("generate as GPT-2, by generation_config", *(m.generate(ids, config) for m in (twin, gpt2)))
    same("which is left as it was", config.use_cache, True)
    same(
        "generate as GPT-2's assistant",
        gpt2.generate(ids[:1], config, assistant_model=twin),
        gpt2.generate(ids[:1], config),
    )
    asked = {"output_hidden_states": True, "output_scores": True, "return_dict_in_generate": True}
    ours, theirs = (model.generate(ids, config, **asked) for model in (twin, gpt2))
    check("generate's scores", max(map(distance, ours.scores, theirs.scores)), CLOSE)
    check(
        "generate's hidden states at the end",
        max(distance(a[-1][:, -1], b[-1][:, -1]) for a, b in zip(ours.hidden_states, theirs.hidden_states)),
        CLOSE,
    )


def greedy(model, ids, count, loops):
    with torch.no_grad():
        for _ in range(count):
            ids = torch.cat([ids, model(ids, num_loops=loops).logits[:, -1:].argmax(-1)], dim=1)
    return ids


def prompts_where_loops_tell(model, tries):
    """Prompts that each count continues in its own way, and how; None if there are none among so many."""
    for _ in range(tries):
        ids = torch.randint(1, 300, (2, 14))
        by_hand = {loops: greedy(model, ids, NEW, loops) for loops in COUNTS}
        if len({tuple(made.flatten().tolist()) for made in by_hand.values()}) == len(COUNTS):
            return ids, by_hand
    return None


def loop_counts(arguments, exported, run, data, work):
    """`num_loops`: the argument, then generation_config, then the configuration."""
    model, trained = load(exported), TRAINED
    model.generation_config.eos_token_id = None
    settings = {"max_new_tokens": NEW, "do_sample": False, "pad_token_id": 0}
    generate = lambda **given: model.generate(ids, **{**settings, **given})
    told = prompts_where_loops_tell(model, 100)
    if told is None:
        sys.exit("check_loop_model.py: loops make no difference to this network, which shows nothing")
    ids, by_hand = told
    same("no num_loops is the trained count", generate(), by_hand[trained])
    for loops, expected in by_hand.items():
        same(f"generate(num_loops={loops})", generate(num_loops=loops), expected)
    padded = torch.cat([torch.zeros(2, 3, dtype=torch.long), ids], dim=1)
    seen = torch.cat([torch.zeros(2, 3, dtype=torch.long), torch.ones_like(ids)], dim=1)
    made = model.generate(padded, attention_mask=seen, num_loops=1, **settings)
    same("generate(num_loops=1) of padded texts", made[:, 3:], by_hand[1])
    beams = generate(num_loops=1, num_beams=3)
    same(
        "generate(num_loops=1) with a static cache",
        generate(num_loops=1, cache_implementation="static"),
        by_hand[1],
    )

    for loops in (1, 2, trained + 2):
        ours = loopnn("eval", "--model", run, "--data", data, "--precision", "f32", "--loops", loops)[
            "results"
        ][0]["loss"]
        yield loops, ours

    model.generation_config.num_loops = 1
    same("generation_config.num_loops", generate(), by_hand[1])
    same("the argument goes before it", generate(num_loops=2), by_hand[2])
    same("an argument of None does not", generate(num_loops=None), by_hand[1])
    own = GenerationConfig(num_loops=2, **settings)
    same(
        "a generation_config given goes before the model's",
        model.generate(ids, generation_config=own),
        by_hand[2],
    )
    same(
        "and the argument before both",
        model.generate(ids, generation_config=own, num_loops=trained),
        by_hand[trained],
    )
    without = GenerationConfig(**settings)
    same(
        "one without num_loops leaves the model's", model.generate(ids, generation_config=without), by_hand[1]
    )
    text = AutoTokenizer.from_pretrained(exported, trust_remote_code=True)
    written = pipeline("text-generation", model=model, tokenizer=text)
    prompt = "Line 3 of text 1"
    start = text(prompt, return_tensors="pt").input_ids
    same(
        "pipeline(num_loops=2)",
        written(prompt, num_loops=2, **settings)[0]["generated_text"],
        text.decode(greedy(model, start, NEW, 2)[0], skip_special_tokens=True),
    )

    saved = work / "saved-with-num-loops"
    model.save_pretrained(saved)
    again = load(saved)
    same("save_pretrained keeps generation_config.num_loops", again.generation_config.num_loops, 1)
    same("and generate obeys it", again.generate(ids, **settings), by_hand[1])
    loopnn("import", saved, "--out", work / "back-with-num-loops")

    model.generation_config.num_loops = None
    model.config.n_loop = 2
    same("config.n_loop in generate", generate(), by_hand[2])
    check(
        "config.n_loop in forward",
        distance(model(ids).logits, arguments.call(model, input_ids=ids, num_loops=2).logits),
        0,
    )
    model.config.n_loop = 1
    same("generate(num_loops=1, num_beams=3) as with config.n_loop", beams, generate(num_beams=3))
    refused(
        "saving a model whose config.n_loop was changed",
        ValueError,
        r"^config\.n_loop: must be 3",
        lambda: model.save_pretrained(saved),
    )
    model.config.n_loop = trained


def wrong_counts(exported, single, ids):
    model = load(exported)
    generate = lambda **given: model.generate(ids, max_new_tokens=2, pad_token_id=0, **given)
    rule = r"num_loops: must be a whole number of at least 1, got "
    for value in (0, -1, 2.0, "2", True, False):
        refused(f"num_loops {value!r}", ValueError, rule, lambda: model(ids, num_loops=value))
        refused(f"generate(num_loops={value!r})", ValueError, rule, lambda: generate(num_loops=value))
    for value in (0, True, 1.5):
        changed = copy.deepcopy(model)
        changed.generation_config.num_loops = value
        refused(
            f"generation_config.num_loops {value!r}",
            ValueError,
            rule,
            lambda: changed.generate(ids, pad_token_id=0),
        )
        changed = copy.deepcopy(model)
        changed.config.n_loop = value
        refused(
            f"config.n_loop {value!r}",
            ValueError,
            r"^config\.n_loop: must be a whole number",
            lambda: changed(ids),
        )
    refused(
        "loops without gates",
        ValueError,
        r"^num_loops: must be 1 for a model without outer gates",
        lambda: single(ids, num_loops=2),
    )
    given = {"trust_remote_code": True}
    for value in (0, -1, "3", True):
        refused(
            f"from_pretrained(n_loop={value!r})",
            ValueError,
            r"^config\.n_loop: must be a whole number",
            lambda: type(model).from_pretrained(exported, n_loop=value, **given),
        )
    refused(
        "from_pretrained(n_loop=1) of three loops",
        ValueError,
        r"^config: n_loop and n_inner_loop must be as they were trained",
        lambda: type(model).from_pretrained(exported, n_loop=1, **given),
    )
    refused(
        "from_pretrained(n_loop=5) of three loops",
        RuntimeError,
        "ignore_mismatched_sizes",
        lambda: type(model).from_pretrained(exported, n_loop=5, **given),
    )


def no_use_for(arguments, model, gpt2, ids):
    """What is refused: what there is no cache for, and what would change nothing in silence."""
    T = ids.shape[1]
    generate = lambda **given: model.generate(
        ids[:1], max_new_tokens=3, do_sample=False, pad_token_id=0, **given
    )
    refused(
        "leaving early",
        ValueError,
        "^assistant_early_exit: must be None",
        lambda: generate(assistant_early_exit=1),
    )
    config = GenerationConfig(assistant_early_exit=1)
    refused(
        "leaving early by generation_config",
        ValueError,
        "^assistant_early_exit: must be None",
        lambda: model.generate(ids[:1], generation_config=config),
    )
    refused(
        "a paged cache",
        ValueError,
        "^cache_implementation: must not be paged",
        lambda: generate(cache_implementation="paged"),
    )
    refused(
        "guidance at another count",
        ValueError,
        "^guidance_scale: must be None where num_loops",
        lambda: generate(guidance_scale=1.5, num_loops=1),
    )
    refused(
        "generate(output_attentions=True)",
        ValueError,
        "^output_attentions",
        lambda: generate(output_attentions=True),
    )
    refused("generate(wrong=1)", ValueError, "wrong", lambda: generate(wrong=1))
    cases = {
        "a tuple as cache": (TypeError, "^(cache|past_key_values): must be a Cache", {"cache": ((ids, ids),)}),
        "a cache by both names": (
            ValueError,
            "^cache: must be given once",
            {"cache": DynamicCache(), "past_key_values": DynamicCache()},
        ),
        "output_attentions": (ValueError, "^output_attentions: must be False", {"output_attentions": True}),
        "token_type_ids": (
            ValueError,
            "^token_type_ids: must be zeros",
            {"token_type_ids": torch.ones_like(ids)},
        ),
        "a mask of another length": (
            ValueError,
            "^attention_mask: must have shape",
            {"attention_mask": torch.ones(2, T + 1)},
        ),
        "a mask of 3 dimensions": (
            ValueError,
            "^attention_mask: must have shape",
            {"attention_mask": torch.ones(2, T, T)},
        ),
        "ids and embeddings": (
            ValueError,
            "^input_ids: must be given",
            {"inputs_embeds": torch.zeros(2, T, 32)},
        ),
        "head_mask": (TypeError, "unexpected keyword argument 'head_mask'", {"head_mask": torch.ones(2)}),
        "cache_position": (TypeError, "unexpected keyword argument", {"cache_position": torch.arange(T)}),
        "cu_seq_lens_q": (TypeError, "unexpected keyword argument", {"cu_seq_lens_q": torch.tensor([0, 3])}),
    }
    for name, (error, pattern, given) in cases.items():
        refused(f"forward, {name}", error, pattern, lambda: arguments.call(model, input_ids=ids, **given))
    refused("neither ids nor embeddings", ValueError, "^input_ids: must be given", lambda: model())
    check(
        "None is as if it were not given",
        distance(
            arguments.call(model, input_ids=ids, past_key_values=None, cache=None, head_mask=None).logits,
            model(ids).logits,
        ),
        0,
    )


def cached(model, ids):
    """With a cache, `forward` and `generate` give what they give without, and compute no position twice."""
    B, T = ids.shape
    padded = torch.cat([torch.zeros(B, 4, dtype=torch.long), ids], dim=1)
    padded[1, :6] = 0
    seen = (torch.arange(T + 4)[None] >= torch.tensor([[4], [6]])).long()
    left = {"input_ids": padded, "attention_mask": seen}
    static = {"cache_implementation": "static"}
    cases = {
        "greedy": {},
        "sampling": {"do_sample": True, "top_k": 20, "num_return_sequences": 2},
        "beams": {"num_beams": 3, "num_return_sequences": 2},
        "padding on the left": left,
        "beams of padded texts": {"num_beams": 3, **left},
        "sampling of padded texts": {"do_sample": True, **left},
        "static": static,
        "static, padding on the left": {**static, **left},
        "static, beams of padded texts": {**static, "num_beams": 3, **left},
        "position_ids": {"position_ids": torch.arange(3, 3 + T)[None].repeat(B, 1)},
        "position_ids that begin again": {"position_ids": torch.tensor([[*range(5), *range(T - 5)]] * B)},
        "inputs_embeds": {"input_ids": None, "inputs_embeds": model.transformer.wte(ids)},
        "prefill in chunks": {"prefill_chunk_size": 5},
        "prefill in chunks of padded texts": {"prefill_chunk_size": 5, **left},
    }
    cases = unless_before_5(cases, "prefill in chunks of padded texts", "counts padding as positions there")
    computed = []
    counting = model.transformer.register_forward_pre_hook(lambda _, given: computed.append(given[0].shape[1]))
    for loops in COUNTS:
        settings = {"input_ids": ids, "do_sample": False, "max_new_tokens": NEW, "pad_token_id": 0}
        for name, given in cases.items():
            given, made, positions = {**settings, "num_loops": loops, **given}, [], []
            plain = {k: v for k, v in given.items() if k not in ("cache_implementation", "prefill_chunk_size")}
            if "inputs_embeds" in given:
                plain = {**settings, "num_loops": loops}
            for call in ({**plain, "use_cache": False}, given):
                computed.clear()
                torch.manual_seed(3)
                made.append(model.generate(**call)[:, -NEW:])
                positions.append(sum(computed))
            start = plain["input_ids"].shape[1]
            same(f"cache, {loops} loops, {name}: as without", made[1], made[0])
            same(f"cache, {loops} loops, {name}: positions", positions[1], start + NEW - 1)
            same("and without", positions[0] - NEW * start, NEW * (NEW - 1) // 2)
    counting.remove()

    # A cache of the caller's own, of each kind and by either name, filled in parts of 6, 1, 3 and 1.
    whole = model(ids, num_loops=2).logits
    kinds = {
        "bare": DynamicCache,
        "dynamic": lambda: DynamicCache(config=model.config),
        "static": lambda: StaticCache(config=model.config, max_cache_len=20),
    }
    parts = [(0, 6), (6, 7), (7, 10), (10, 11)]
    for kind, make in kinds.items():
        for name in ("cache", "past_key_values"):
            own = make()
            arguments = lambda start, end: {"input_ids": ids[:, start:end], "num_loops": 2, name: own}
            with torch.no_grad():
                found = torch.cat([model(**arguments(start, end)).logits for start, end in parts], dim=1)
            check(f"{name}={kind}: logits in parts", distance(found, whole[:, :11]), CLOSE)
    window = torch.ones(T, T, dtype=torch.bool).tril().triu(-3)[None, None].expand(B, 1, T, T)
    whole, own = model(ids, attention_mask=window).logits, DynamicCache()
    model(ids[:, :9], attention_mask=window[:, :, :9, :9], cache=own)
    found = model(ids[:, 9:], attention_mask=window[:, :, 9:], cache=own).logits
    check("attention_mask of 4 dimensions over a cache", distance(found, whole[:, 9:]), CLOSE)
    output = model(ids, use_cache=True)
    output = model(ids[:, :2], past_key_values=output.past_key_values)
    whole = model(torch.cat([ids, ids[:, :2]], dim=1)).logits[:, T:]
    check("use_cache=True returns one", distance(output.logits, whole), CLOSE)
    full = output.past_key_values
    for loops in (1, TRAINED + 2):
        refused(
            f"a cache of {TRAINED} loops for {loops}",
            ValueError,
            "must have been filled with the same num_loops",
            lambda: model(ids[:, :1], num_loops=loops, cache=full),
        )
    refused(
        "more positions than there are, cached ones among them",
        ValueError,
        "must have at most",
        lambda: model(ids[:, :1].repeat(1, model.config.n_positions - T - 1), cache=full),
    )
    for name in ("cache", "past_key_values"):
        own = DynamicCache()
        first = model.generate(**settings, **{name: own})
        more = {**settings, "input_ids": first, "max_new_tokens": 3}
        same(f"generate({name}=…) goes on", model.generate(**more, **{name: own}), model.generate(**more))
    training = copy.deepcopy(model).train()
    training.gradient_checkpointing_enable()
    output, own = training(ids[:, :5], use_cache=True), model(ids[:, :5], use_cache=True)
    output.logits.sum().backward()
    found, expected = (
        model(ids[:, 5:6], past_key_values=o.past_key_values).logits for o in (output, own)
    )
    check("a cache filled where gradients are checkpointed", distance(found, expected), CLOSE)


def assisted(exported, model, gpt2, ids):
    """Drafts of any kind leave greedy decoding as it is; the network itself with fewer loops is an assistant too."""
    first, expected = ids[:1], {loops: greedy(model, ids[:1], NEW, loops) for loops in COUNTS}
    fewer = load(exported)
    fewer.generation_config.num_loops = 1
    drafts = {"GPT-2": gpt2, "one loop": fewer}
    settings = {"max_new_tokens": NEW, "min_new_tokens": NEW, "do_sample": False, "pad_token_id": 0}
    if BEFORE_5:  # which refuses min_new_tokens here; no id ends a text
        settings = {**settings, "min_new_tokens": None, "eos_token_id": model.config.vocab_size}
    counted = []
    counting = fewer.transformer.register_forward_pre_hook(lambda _, given: counted.append(given[3]))
    for loops, made in expected.items():
        for name, assistant in drafts.items():
            found = model.generate(first, assistant_model=assistant, num_loops=loops, **settings)
            same(f"generate(num_loops={loops}) assisted by {name}", found, made)
        found = model.generate(first, prompt_lookup_num_tokens=3, num_loops=loops, **settings)
        same(f"generate(num_loops={loops}) with prompt lookup", found, made)
    counting.remove()
    same("loops of the assistant", sorted(set(counted)), [1])


def hidden_states(model, ids, layers, what):
    """One at the start and one after each block of each loop, which are those of fewer loops."""
    network, coda = model.transformer, model.config.n_coda
    states = model(ids, output_hidden_states=True).hidden_states
    once, looped = model.config.n_prelude + coda, layers - model.config.n_prelude - coda
    same(f"{what}: how many hidden states", len(states), 1 + once + looped * TRAINED)
    for loops in range(1, TRAINED + 1):
        x = states[model.config.n_prelude + looped * loops]
        if loops < TRAINED or coda > 0:
            for block in network.h[layers - coda :]:
                x = block(x, None, None, None)
            x = network.ln_f(x)
        found = model(ids, num_loops=loops, output_hidden_states=True).hidden_states
        same(f"{what}: how many of {loops} loops", len(found), 1 + once + looped * loops)
        check(f"{what}: the state after {loops} loops", distance(x, found[-1]), CLOSE)
    asked = {"output_hidden_states": True, "return_dict_in_generate": True}
    settings = {"do_sample": False, "max_new_tokens": NEW, "min_new_tokens": NEW, "pad_token_id": 0, **asked}
    cached, whole = (model.generate(ids, use_cache=use, **settings).hidden_states for use in (True, False))
    sizes = [[state.shape[1] for state in step] for step in cached]
    same(f"{what}: of generate", sizes, [[n] * len(states) for n in (ids.shape[1], *[1] * (NEW - 1))])
    error = max(distance(a[:, -1], b[:, -1]) for c, w in zip(cached, whole) for a, b in zip(c, w))
    check(f"{what}: with a cache as without", error, CLOSE * max(1, states[-2].abs().max().item()))


def loop_model(exported, gpt2_exported, run, data, work, loss_over):
    """`loss_over(model, loops)` is the loss over the validation tokens."""
    loop, gpt2 = load(exported), load(gpt2_exported)
    twin, arguments = as_loop_network(gpt2, loop), Arguments()
    ids = torch.randint(1, 300, (2, 14))
    forward_as_gpt2(arguments, twin, gpt2, ids)
    generate_as_gpt2(twin, gpt2, ids)
    for loops, ours in loop_counts(arguments, exported, run, data, work):
        check(
            f"num_loops={loops}: loss in PyTorch as in loopnn ({ours:.6f})",
            abs(loss_over(loop, loops) - ours),
            2e-5,
        )
    cached(loop, ids)
    assisted(exported, loop, gpt2, ids)
    hidden_states(loop, ids, 2, "two layers")
    wrong_counts(exported, twin, ids)
    no_use_for(arguments, loop, gpt2, ids)
    declared = set(inspect.signature(loop.forward).parameters) - {"kwargs"}
    same("every argument of forward is among these", sorted(declared - arguments.tried), [])
    return twin, gpt2
