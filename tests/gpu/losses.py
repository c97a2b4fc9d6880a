#!/usr/bin/env python3
"""losses.py A B: two logs of qz-train on two devices.  Losses within 0.01 and gradient norms within 1 %."""
import json, sys

a, b = ([json.loads(line) for line in open(name)] for name in sys.argv[1:3])
a, b = ([step for step in log if "grad_norm" in step] for log in (a, b))
loss = max((abs(x["loss"] - y["loss"]) for x, y in zip(a, b)), default=9)
norm = max((abs(x["grad_norm"] / y["grad_norm"] - 1) for x, y in zip(a, b)), default=9)
print(f"# {len(a)} steps, loss {b[0]['loss']:.4f} to {b[-1]['loss']:.4f}: losses differ by {loss:.1e}, "
      f"gradient norms by {norm:.1e}")
sys.exit(len(a) < 2 or len(a) != len(b) or not loss < 0.01 or not norm < 0.01)
