"""Checks exported networks under PEFT's LoRA; part of check_huggingface.py."""

import torch
from check_loop_model import CLOSE, distance
from checks import check, load, loopnn, refused, report, same
from peft import LoraConfig, PeftModel, get_peft_model

# Every linear layer; gates, norms and embeddings are none.
TARGETS = {"named": ["c_attn", "c_proj", "c_fc"], "all-linear": "all-linear"}


def lora(name, exported, work):
    for kind, targets in TARGETS.items():
        adapted(f"LoRA, {name}, {kind}", exported, targets, work / f"lora-{name}-{kind}")
    refused(
        "LoRA without target_modules",
        ValueError,
        "target_modules",
        lambda: get_peft_model(load(exported), LoraConfig()),
    )


def adapted(what, exported, targets, folder):
    base = load(exported)
    ids = torch.randint(1, 300, (4, 16))
    with torch.no_grad():
        plain = base(ids).logits
    before = {name: value.clone() for name, value in base.state_dict().items()}
    config = LoraConfig(r=4, lora_alpha=8, target_modules=targets, fan_in_fan_out=True, task_type="CAUSAL_LM")
    model = get_peft_model(base, config)
    layers = {name: module for name, module in model.named_modules() if hasattr(module, "lora_A")}
    wanted = {name for name in before if name.endswith(("c_attn.weight", "c_proj.weight", "c_fc.weight"))}
    if targets == "all-linear":
        wanted |= {name for name in before if name.startswith("transformer.injection.") and name.endswith("weight")}
    found = {name.removeprefix("base_model.model.") + ".weight" for name in layers}
    same(f"{what}: layers", sorted(found), sorted(wanted))
    check(f"{what}: begins as the network", distance(model(ids).logits, plain), 0)

    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.01)
    losses = []
    for _ in range(8):
        loss = model(input_ids=ids, labels=ids).loss
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    report(f"{what}: loss falls", losses[-1] < losses[0] - 0.02, f"{losses[0]:.3f} to {losses[-1]:.3f}")
    after = model.state_dict()
    kept = {
        name.removeprefix("base_model.model.").replace(".base_layer", ""): value
        for name, value in after.items()
        if "lora_" not in name
    }
    same(f"{what}: the network's own weights", sorted(kept), sorted(before))
    moved = [name for name in before if not torch.equal(kept[name], before[name])]
    same(f"{what}: of which training moves", moved, [])

    model.eval()
    settings = {"input_ids": ids, "max_new_tokens": 8, "do_sample": False, "pad_token_id": 0}
    with torch.no_grad():
        trained = {loops: model(input_ids=ids, num_loops=loops).logits for loops in (1, 2, None)}
        made = {loops: model.generate(**settings, num_loops=loops) for loops in trained}
    uncached = {loops: model.generate(**settings, num_loops=loops, use_cache=False) for loops in trained}
    for loops, ids_made in made.items():
        same(f"{what}: generate(num_loops={loops}) as without a cache", ids_made, uncached[loops])
    model.save_pretrained(folder / "adapter")
    again = PeftModel.from_pretrained(load(exported), folder / "adapter").eval()
    check(f"{what}: adapter read again", distance(again(input_ids=ids).logits, trained[None]), 0)

    merged = model.merge_and_unload()
    with torch.no_grad():
        for loops, logits in trained.items():
            error = distance(merged(ids, num_loops=loops).logits, logits)
            check(f"{what}: merged, num_loops={loops}", error, CLOSE * logits.abs().max().item())
    same(f"{what}: merged names", sorted(merged.state_dict()), sorted(before))
    report(f"{what}: merged weights moved", distance(merged(ids).logits, plain) > 0.1, "more than 0.1 in logits")
    merged.save_pretrained(folder / "merged")
    check(f"{what}: merged and read again", distance(load(folder / "merged")(ids).logits, merged(ids).logits), 0)
    loopnn("import", folder / "merged", "--out", folder / "run")
    loopnn("export", "--model", folder / "run", "--out", folder / "back")
    check(f"{what}: by way of loopnn", distance(load(folder / "back")(ids).logits, merged(ids).logits), 0)
