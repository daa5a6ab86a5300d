#!/usr/bin/env python3
"""Prints the polynomial coefficients of include/attune/backend/cpu/vector_math.inc. Needs mpmath.

Each polynomial is a minimax fit (Remez exchange, 60 digits) whose coefficients are rounded to float one by one,
lowest power first, refitting the rest after each rounding.
"""
import struct

import mpmath as mp

mp.mp.dps = 60


def to_float(value):
    return mp.mpf(struct.unpack("f", struct.pack("f", float(value)))[0])


def remez(target, weight, low, high, powers, fixed):
    """Minimises max |weight(x) (sum_p c_p x^p + sum fixed - target(x))| over c."""
    count = len(powers)
    residual = lambda x: target(x) - sum(c * x**p for p, c in fixed.items())
    points = [(low + high) / 2 + (high - low) / 2 * mp.cos(mp.pi * (2 * i + 1) / (2 * count + 2))
              for i in range(count + 1)]
    points.sort()
    for _ in range(30):
        matrix = mp.matrix(count + 1, count + 1)
        right = mp.matrix(count + 1, 1)
        for i, x in enumerate(points):
            for j, p in enumerate(powers):
                matrix[i, j] = weight(x) * x**p
            matrix[i, count] = (-1) ** i
            right[i] = weight(x) * residual(x)
        solution = mp.lu_solve(matrix, right)
        error = lambda x: weight(x) * (sum(solution[j] * x**p for j, p in enumerate(powers)) - residual(x))
        grid = [low + (high - low) * i / mp.mpf(400) for i in range(401)]
        values = [error(x) for x in grid]
        extrema = []
        for i, x in enumerate(grid):
            if i in (0, 400) or (values[i] - values[i - 1]) * (values[i + 1] - values[i]) <= 0:
                extrema.append((x, values[i]))
        alternating = []
        for x, v in extrema:
            if alternating and alternating[-1][1] * v > 0:
                if abs(v) > abs(alternating[-1][1]):
                    alternating[-1] = (x, v)
            else:
                alternating.append((x, v))
        while len(alternating) > count + 1:
            alternating.pop(0 if abs(alternating[0][1]) < abs(alternating[-1][1]) else -1)
        if len(alternating) < count + 1:
            break
        new_points = [x for x, _ in alternating]
        if max(abs(a - b) for a, b in zip(points, new_points)) == 0:
            break
        points = new_points
    return {p: solution[j] for j, p in enumerate(powers)}, max(abs(v) for v in values)


def fit(name, target, weight, low, high, powers, fixed=None):
    fixed = dict(fixed or {})
    given = set(fixed)
    remaining = list(powers)
    while remaining:
        coefficients, error = remez(target, weight, mp.mpf(low), mp.mpf(high), remaining, fixed)
        if len(remaining) == len(powers):
            print(f"// {name}: error {mp.nstr(error, 3)} before rounding")
        first = remaining.pop(0)
        fixed[first] = to_float(coefficients[first])
    error = max(abs(weight(x) * (sum(c * x**p for p, c in fixed.items()) - target(x)))
                for x in [mp.mpf(low) + (mp.mpf(high) - mp.mpf(low)) * i / 1000 for i in range(1001)])
    print(f"// {name}: error {mp.nstr(error, 3)} after rounding")
    for power, value in sorted(fixed.items()):
        if power not in given:
            print(f"  x^{power}: {float(value).hex()}f")


half_log2 = mp.log(2) / 2 * mp.mpf("1.001")


def exp_rest(r):  # (exp(r) - 1 - r) / r^2
    if abs(r) < mp.mpf("1e-12"):
        return mp.mpf(1) / 2 + r / 6
    return (mp.expm1(r) - r) / r**2


def erf_rest(s):  # erf(x) / x - 1 over s = x^2
    if s < mp.mpf("1e-30"):
        return 2 / mp.sqrt(mp.pi) - 1
    x = mp.sqrt(s)
    return mp.erf(x) / x - 1


def erf_log(t):
    return mp.log(mp.erfc(t))


def normal_log(t):
    return mp.log(mp.erfc(t)) + t**2


def tanh_rest(s):  # tanh(x) / x - 1 over s = x^2
    if s < mp.mpf("1e-30"):
        return -s / 3
    x = mp.sqrt(s)
    return mp.tanh(x) / x - 1


if __name__ == "__main__":
    fit("exp(r) = 1 + r + r^2 p(r)", exp_rest, lambda r: (r**2 + mp.mpf("1e-6")) / mp.exp(r), -half_log2, half_log2, range(5))
    fit("erf(x) = x + x p(x^2), |x| <= 1", erf_rest, lambda s: 1 / (1 + erf_rest(s)), 0, 1, range(7))
    fit("erf(x) = 1 - exp(p(x)), 1 <= x <= 4", erf_log, lambda t: mp.erfc(t) / mp.erf(t), 1, 4, range(7))
    fit("erfc(x) = exp(p(x) - x^2), 0 <= x <= 4.25", normal_log, lambda t: max(mp.erfc(t), mp.mpf("0.05")), 0, "4.25",
        range(1, 11))
    fit("tanh(x) = x + x p(x^2), |x| <= 0.6", tanh_rest, lambda s: 1 / (1 + tanh_rest(s)), 0, "0.36", range(1, 6))
