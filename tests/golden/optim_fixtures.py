"""optim.json: optimizers, clipping and learning-rate schedules on small numbers."""

import numpy as np
import torch
import transformers

SEED = 20240731
STEPS = 8


def numbers(values):
    if isinstance(values, torch.Tensor):
        values = values.tolist()
    if isinstance(values, list):
        return [numbers(v) for v in values]
    return float(f"{values:.12g}")


def draw(rng, *shape):
    return torch.from_numpy(rng.standard_normal(shape).astype(np.float32)).double()


def trajectory(name, make, groups, note):
    """Two parameters ("weight" of 6 and "bias" of 3 values) under given gradients."""
    rng = np.random.Generator(np.random.PCG64(SEED))
    parameters = {"weight": draw(rng, 6), "bias": draw(rng, 3)}
    gradients = [{"weight": draw(rng, 6) * 10.0 ** (step % 3 - 1), "bias": draw(rng, 3)}
                 for step in range(STEPS)]
    live = {n: p.clone().requires_grad_() for n, p in parameters.items()}
    optimizer = make([{"params": [live[n] for n in names], **options} for names, options in groups])
    values = []
    for step in range(STEPS):
        for parameter_name, parameter in live.items():
            parameter.grad = gradients[step][parameter_name].clone()
        optimizer.step()
        values.append({n: numbers(p.detach()) for n, p in live.items()})
    return {
        "name": name,
        "note": note,
        "groups": [{"params": names, "options": options} for names, options in groups],
        "start": {n: numbers(p) for n, p in parameters.items()},
        "gradients": [{n: numbers(g) for n, g in step.items()} for step in gradients],
        "values": values,
    }


def adamw(name, note, groups=((("weight", "bias"), {}),), **defaults):
    groups = [(list(names), options) for names, options in groups]
    entry = trajectory(name, lambda g: torch.optim.AdamW(g, **defaults), groups, note)
    return {"optimizer": "AdamW", "defaults": defaults, **entry}


def sgd(name, note, groups=((("weight", "bias"), {}),), **defaults):
    groups = [(list(names), options) for names, options in groups]
    entry = trajectory(name, lambda g: torch.optim.SGD(g, **defaults), groups, note)
    return {"optimizer": "SGD", "defaults": defaults, **entry}


def optimizers():
    no_decay = (("weight",), {"weight_decay": 0.1}), (("bias",), {"weight_decay": 0.0})
    layer_wise = (("weight",), {"lr": 1e-2}), (("bias",), {"lr": 5e-3, "betas": [0.8, 0.99]})
    return [
        adamw("adamw_defaults", "PyTorch's defaults"),
        adamw("adamw_no_decay_group", "no weight decay on the bias", no_decay, lr=1e-2),
        adamw("adamw_lr_groups", "a learning rate and betas for each group", layer_wise),
        adamw("adamw_large_eps", "an epsilon that matters", lr=1e-2, eps=0.1, betas=[0.7, 0.9],
              weight_decay=0.0),
        sgd("sgd_plain", "no momentum", lr=0.1),
        sgd("sgd_momentum", "the first step takes the gradient itself as momentum", lr=0.1, momentum=0.9),
        sgd("sgd_dampening", "dampening counts from the second step", lr=0.1, momentum=0.9, dampening=0.5),
        sgd("sgd_nesterov", "Nesterov; the decay is added to the gradient", lr=0.1, momentum=0.9,
            nesterov=True, weight_decay=0.01),
        sgd("sgd_no_decay_group", "no weight decay on the bias", no_decay, lr=0.1, momentum=0.5),
    ]


def schedule(name, steps, num_warmup_steps=None, num_training_steps=None, lr=0.01, **options):
    """The learning rate that each of `steps` optimizer steps uses."""
    parameter = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.SGD([parameter], lr=lr)
    scheduler = transformers.get_scheduler(name, optimizer, num_warmup_steps, num_training_steps, options)
    used = []
    for _ in range(steps):
        used.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return {"name": name, "lr": lr, "num_warmup_steps": num_warmup_steps,
            "num_training_steps": num_training_steps, "options": options, "values": numbers(used)}


def schedules():
    return [
        schedule("constant", 4),
        schedule("constant_with_warmup", 8, 5),
        schedule("constant_with_warmup", 4, 0),
        schedule("linear", 14, 3, 12),
        schedule("linear", 8, 0, 6),
        schedule("linear", 5, 8, 4),
        schedule("cosine", 14, 3, 12),
        schedule("cosine", 14, 0, 12, num_cycles=1.5),
        schedule("cosine_with_restarts", 18, 3, 16, num_cycles=3),
        schedule("cosine_with_restarts", 12, 2, 10),
        schedule("polynomial", 14, 3, 12),
        schedule("polynomial", 14, 3, 12, lr_end=1e-3, power=2.0),
        schedule("inverse_sqrt", 12, 4),
        schedule("inverse_sqrt", 12, 4, timescale=10),
        schedule("inverse_sqrt", 6, 0),
        schedule("warmup_stable_decay", 18, 4, 16, num_decay_steps=6),
        schedule("warmup_stable_decay", 18, 4, num_stable_steps=5, num_decay_steps=6, min_lr_ratio=0.1),
        schedule("warmup_stable_decay", 18, 4, 16, num_decay_steps=6, warmup_type="cosine",
                 decay_type="linear"),
        schedule("warmup_stable_decay", 18, 4, 16, num_decay_steps=6, warmup_type="1-sqrt",
                 decay_type="1-sqrt", min_lr_ratio=0.2),
        schedule("warmup_stable_decay", 18, 4, 16, num_decay_steps=6, num_cycles=1.5),
    ]


def clipping():
    rng = np.random.Generator(np.random.PCG64(SEED + 1))
    result = []
    for max_norm, scale in ((1.0, 3.0), (1.0, 1e-3), (0.5, 1.0), (1.0, 0.0)):
        gradients = [draw(rng, 4) * scale, draw(rng, 2, 3) * scale]
        parameters = [torch.zeros_like(g).requires_grad_() for g in gradients]
        for parameter, gradient in zip(parameters, gradients):
            parameter.grad = gradient.clone()
        norm = torch.nn.utils.clip_grad_norm_(parameters, max_norm)
        result.append({"max_norm": max_norm, "gradients": [numbers(g.flatten()) for g in gradients],
                       "norm": numbers(norm.item()),
                       "clipped": [numbers(p.grad.flatten()) for p in parameters]})
    return result


def generate(path, write_json):
    write_json(path, {"optimizers": optimizers(), "schedules": schedules(), "clip_grad_norm": clipping()})
