#!/usr/bin/env python3
"""adamw8bit beside bitsandbytes' own AdamW8bit on the CPU: the same gradients lead to the same parameters, block
constants and codes, up to what its CPU code does otherwise: it decays before the update, which moves lr * decay
of it, and finds codes by 65536 equal steps over -1..1, so that small values get any code below 2e-5.  The
gradients here keep both states above that."""
import os, subprocess, sys
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import tap
sys.path.pop(0)
torch, bnb, np = tap.need('torch', 'bitsandbytes', 'numpy')
torch.set_num_threads(1)

N, LR = 8192 + 100, 1e-3
helper = os.path.join(os.path.dirname(os.path.abspath(__file__)), '../../build/tests/interop/optim')
rng = np.random.default_rng(1)


def gradients(steps):
    mean = rng.uniform(0.3, 1, N) * rng.choice([-1, 1], N) * np.where(np.arange(N) % 512 < 256, 1e-3, 10)
    return [(mean * rng.uniform(0.7, 1.3, N)).astype('<f4') for _ in range(steps)]


def qz(p, g, decay):
    out = subprocess.run([helper, str(N), str(len(g)), str(LR), str(decay)], input=p.tobytes() + b''.join(x.tobytes() for x in g),
                         stdout=subprocess.PIPE, check=True).stdout
    blocks = (N + 255) // 256
    f = np.frombuffer(out[:4 * (N + 2 * blocks)], '<f4')
    codes = np.frombuffer(out[4 * (N + 2 * blocks):], 'u1')
    return f[:N], f[N:N + blocks], f[N + blocks:], codes[:N], codes[N:]


def theirs(p, g, decay):
    w = torch.nn.Parameter(torch.from_numpy(p.copy()))
    o = bnb.optim.AdamW8bit([w], lr=LR, weight_decay=decay)
    for x in g:
        w.grad = torch.from_numpy(x.copy())
        o.step()
    s = o.state[w]
    if s['state1'].dtype != torch.uint8:
        raise NotImplementedError('its states have type %s' % s['state1'].dtype)
    return (w.detach().numpy(),) + tuple(s[k].numpy() for k in ('absmax1', 'absmax2', 'state1', 'state2'))


def off(a, b):
    return float(np.linalg.norm(a.astype('f8') - b) / np.linalg.norm(b.astype('f8')))


for steps, decay in (1, 0.0), (1, 0.1), (20, 0.0), (20, 0.1):
    p = rng.standard_normal(N).astype('<f4')
    g = gradients(steps)
    try:
        want = theirs(p, g, decay)
    except (NotImplementedError, RuntimeError) as e:
        tap.skip_all('bitsandbytes has no 8-bit AdamW on the CPU: %s' % str(e).splitlines()[0])
    got = qz(p, g, decay)
    moved = off(got[0] - p, want[0] - p)
    codes = [float(np.mean(np.abs(a.astype(int) - b.astype(int)) > 1)) for a, b in zip(got[3:], want[3:])]
    tap.ok(moved < (1e-5 if steps == 1 else 5e-3) + 2 * LR * decay, '%d steps, decay %g: they move alike (%.1e)' % (steps, decay, moved))
    far = max(off(got[1], want[1]), off(got[2], want[2]))
    tap.ok(far < (1e-6 if steps == 1 else 1e-2), 'block constants (%.1e)' % far)
    # A code that rounds otherwise is carried on from step to step.
    tap.ok(max(codes) <= (0 if steps == 1 else 1e-2), 'codes that are more than one off: %.1e of m, %.1e of v' % tuple(codes))
tap.done()
