"""The faults of `tests/faults.py`: one line each, what it is, and what should notice it, cheap tests first.

Numbers say where: 1xx measuring, 2xx metrics and results, 3xx statistics, 4xx claims, options and sessions, 5xx suites,
6xx runs that are spread, 7xx the explorer.
No fault leaves behaviour as it is, and none is only a crash on import.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """`old`, which stands once in `file`, becomes `new`; `commands` are what pytest is asked, until one fails."""

    number: int
    file: str
    what: str
    old: str
    new: str
    commands: tuple[str, ...]


def faults(
    file: str, commands: tuple[str, ...], *rows: tuple[int, str, str, str] | tuple[int, str, str, str, tuple[str, ...]]
) -> tuple[Fault, ...]:
    """The faults of one file; a row may name commands of its own."""
    found = []
    for row in rows:
        number, what, old, new = row[:4]
        found.append(Fault(number, file, what, old, new, row[4] if len(row) == 5 else commands))
    return tuple(found)


def suite(name: str, case: str, what: str = "claim or control") -> tuple[str, ...]:
    """What is asked of all suites, then one case of one suite."""
    return ("tests/test_suites.py", f'suites/test_{name}.py -k "({what}) and {case}"')


FORWARD = ("tests/test_forward.py",)
CURVES = ("tests/test_forward.py", "tests/test_measurements.py")
PREDICTIONS = ("tests/test_predictions.py",)
CROSSINGS = ("tests/test_crossings.py",)
SLICES = ("tests/test_slices.py",)
METRICS = ("tests/test_metrics.py", "tests/test_results.py")
STATISTICS = ("tests/test_stats.py", "tests/test_statistics_by_simulation.py")
CLAIMS = ("tests/test_claims.py",)
SESSIONS = ("tests/test_accepted.py", "tests/test_plugin.py")

MEASURING = (
    *faults(
        "measure/core/paths.py",
        ("tests/test_paths.py", "tests/test_slices.py"),
        (101, "last alpha left out", "np.linspace(0.0, 1.0, steps)", "np.linspace(0.0, 1.0, steps, endpoint=False)"),
        (102, "A and B swapped", "start + weights * (end - start)", "end + weights * (start - end)"),
        (
            103,
            "16-bit points rounded at each step",
            "exact = a.dtype if a.dtype == torch.float64 else torch.float32",
            "exact = a.dtype",
            ("tests/test_paths.py", "tests/test_measurements.py"),
        ),
        (104, "foot by C's length", "/ (along * along).sum(-1)", "/ (beside * beside).sum(-1)"),
        (
            105,
            "alpha and beta swapped",
            "weights[None, None, :, None], weights[None, :, None, None]",
            "weights[None, :, None, None], weights[None, None, :, None]",
        ),
    ),
    *faults(
        "measure/core/forward.py",
        FORWARD,
        (106, "one block too many", "[*model.block_list[: layer - 1], tap]", "[*model.block_list[:layer], tap]"),
        (
            107,
            "window one position wide",
            "places[:, None] - places < window",
            "places[:, None] - places <= window",
            ("tests/test_families.py",),
        ),
        (
            108,
            "points see each other",
            "torch.eye(size, dtype=torch.bool, device=like.device)",
            "torch.ones(size, size, dtype=torch.bool, device=like.device)",
        ),
        (
            109,
            "full attention windowed too",
            '"full_attention": _points_mask(earlier, points, like),',
            '"full_attention": _points_mask(earlier, points, like, window),',
            ("tests/test_families.py",),
        ),
        (110, "points one position on", ".clamp(max=before)[None]", ".clamp(max=before + 1)[None]"),
        (
            111,
            "patched block runs again",
            "[*[entry] * layer, *model.block_list[layer:]]",
            "[*[entry] * (layer - 1), *model.block_list[layer - 1 :]]",
        ),
        (
            112,
            "residual read after the norm",
            'Outputs(residual if read == "residual" else found, residual, ',
            "Outputs(found, residual, ",
        ),
        (113, "gates counted from 1 on", "kept.append(inputs[0] > 0)", "kept.append(inputs[0] > 1)", CROSSINGS),
    ),
    *faults(
        "measure/core/reference.py",
        FORWARD,
        (
            115,
            "dead patch in the reference",
            "return forward.replaced(output, states)",
            "return output",
        ),
        (114, "reference patches first position", "states[:, -tail.length] = point", "states[:, 0] = point"),
        (
            116,
            "reference reads a block early",
            'model.depth if read == "residual" else block_of(read)',
            'model.depth - 1 if read == "residual" else block_of(read)',
        ),
    ),
    *faults(
        "measure/core/runs.py",
        CURVES,
        (117, "state of the first token", "self.states[prompt][-1]", "self.states[prompt][0]"),
        (119, "distance from B's end", "distances(read, read[:, :1])", "distances(read, read[:, -1:])"),
        (
            120,
            "sum of absolute differences",
            "torch.linalg.vector_norm(read, dim=-1, dtype=exact)",
            "torch.linalg.vector_norm(read, ord=1, dim=-1, dtype=exact)",
        ),
    ),
    *faults(
        "measure/core/batches.py",
        CURVES,
        (118, "filling kept, points dropped", "found.shape[-1])[:, :points]", "found.shape[-1])[:, -points:]"),
        (121, "last row of chunks dropped", "yield rows[start : start + size]", "yield rows[start : start + size - 1]"),
    ),
    *faults(
        "measure/core/agreement.py",
        CURVES,
        (
            122,
            "fast path hardly checked",
            "torch.float32: 1e-5, torch.bfloat16",
            "torch.float32: 1e-2, torch.bfloat16",
        ),
        (
            123,
            "checked once, trusted ever after",
            "tokens <= longest and row <= most",
            "tokens <= longest or row <= most",
            ("tests/test_families.py -k long_context", *CURVES),
        ),
        (
            124,
            "pairs that show nothing checked",
            "[row for row in longest if a[row] != b[row]] or longest[:1]",
            "longest",
            ("tests/test_slices.py", *CURVES),
        ),
        (
            125,
            "dead check of reading order",
            "(prompt[-1] + 1) % model.vocabulary",
            "prompt[-1]",
            ("tests/test_models.py -k encoder", "tests/test_measurements.py -k both_ways"),
        ),
    ),
    *faults(
        "measure/core/segments.py",
        CURVES,
        (
            126,
            "curve taken for its null",
            "runs.norm_only(part.model, straight_line(part), read, part.known, part.path)",
            'runs.norm_only(part.model, part.found["residual"], read, part.known, part.path)',
        ),
        (
            127,
            "both ends seen from A",
            "runs.distances(found, found[:, -1:])",
            "runs.distances(found, found[:, :1])",
            (*CURVES, "tests/test_baselines.py", "tests/test_predictions.py"),
        ),
        (
            128,
            "steps measured from A",
            "runs.distances(found[:, 1:], found[:, :-1])",
            "runs.distances(found[:, 1:], found[:, :1])",
            (*CURVES, "tests/test_baselines.py", "tests/test_crossings.py"),
        ),
        (129, "scale of the wrong end", "runs.norms(found[:, 0])", "runs.norms(found[:, -1])"),
        (
            130,
            "B's last token lost",
            "np.array([[a[-1], b[-1]] for a, b",
            "np.array([[a[-1], a[-1]] for a, b",
            (*PREDICTIONS, "tests/test_recording.py", *CURVES),
        ),
    ),
    *faults(
        "measure/core/predicting.py",
        CURVES,
        (
            131,
            "top tokens swapped",
            "torch.stack([first, second], dim=1)",
            "torch.stack([second, first], dim=1)",
            PREDICTIONS,
        ),
        (
            134,
            "curve's divergence for its null's",
            '"null_span_divergence": straight.spans',
            '"null_span_divergence": own.spans',
            (*PREDICTIONS, "tests/test_recording.py"),
        ),
        (
            135,
            "curve's logits for its null's",
            "(null, None if normed is None else normed.null[some])",
            "(logits, None if normed is None else normed.own[some])",
            (*PREDICTIONS, "tests/test_recording.py"),
        ),
    ),
    *faults(
        "measure/core/distributions.py",
        CURVES,
        (
            132,
            "logit difference turned round",
            "logits[rows, :, first] - logits[rows, :, second]",
            "logits[rows, :, second] - logits[rows, :, first]",
            PREDICTIONS,
        ),
    ),
    *faults(
        "measure/core/gates.py",
        CURVES,
        (136, "coarse grid too coarse", "_changes(signs[:, ::2])", "_changes(signs[:, ::4])", CROSSINGS),
    ),
    *faults(
        "measure/core/planes.py",
        CURVES,
        (137, "every reference is A's", "own = found[read][:, cells + place]", "own = found[read][:, cells]", SLICES),
        (138, "tokens in B's context", "if place == 0:", "if place == 1:", SLICES),
    ),
    *faults(
        "measure/core/measurements.py",
        CURVES,
        (
            139,
            "all rows and independent swapped",
            'kind.independent or first.rows == "independent"',
            'kind.independent or first.rows != "independent"',
            ("tests/test_store.py", "tests/test_baselines.py", "tests/test_records.py", *CURVES),
        ),
    ),
    *faults(
        "measure/api/one_model.py",
        CURVES,
        (
            140,
            "dependent pairs are units",
            "Pairs(a, b, prompts.independent_units(a, b))",
            "Pairs(a, b, tuple(range(len(a))))",
        ),
    ),
    *faults(
        "measure/core/distributions.py",
        PREDICTIONS,
        (133, "divergence in nats", " / math.log(2)).clamp(0, 1)", ").clamp(0, 1)"),
    ),
    *faults(
        "measure/results/predictions.py",
        (*PREDICTIONS, "tests/test_recording.py"),
        (
            141,
            "flat and moving swapped",
            "movement.argmax(axis=1) if moving else movement.argmin(axis=1)",
            "movement.argmin(axis=1) if moving else movement.argmax(axis=1)",
        ),
        (142, "other alpha for other pair", "np.roll(self.relative, 1, axis=0)", "np.roll(self.relative, 1, axis=1)"),
        (
            143,
            "null keeps the curve's tokens",
            "np.full(self.top_tokens.shape, NO_TOKEN) if top is None else top",
            "np.full(self.top_tokens.shape, NO_TOKEN) if top is None else self.top_tokens",
        ),
        (
            144,
            "agreement of tokens not measured",
            "np.where(ahead == NO_TOKEN, np.nan, (ahead == behind).astype(float))",
            "(ahead == behind).astype(float)",
        ),
    ),
    *faults(
        "measure/results/crossings.py",
        CROSSINGS,
        (
            145,
            "crossings in moving parts",
            "self.crossings.sum(axis=1) * self.flat",
            "self.crossings.sum(axis=1) * ~self.flat",
        ),
        (146, "steps counted for stretches", "fast[:, 1:] & ~fast[:, :-1]", "fast[:, 1:] & fast[:, :-1]"),
    ),
    *faults(
        "measure/results/slices.py",
        SLICES,
        (
            147,
            "mean channel for the farthest",
            "self.own_colours[:, :, None, None]).max(axis=-1)",
            "self.own_colours[:, :, None, None]).mean(axis=-1)",
        ),
        (
            148,
            "flattest tenth for steepest",
            "flat[:, -_steepest(flat.shape[1]) :].sum(axis=1)",
            "flat[:, : _steepest(flat.shape[1])].sum(axis=1)",
        ),
        (149, "widest field for the mean", ":].mean(axis=2)).mean(axis=1)", ":].mean(axis=2)).max(axis=1)"),
        (150, "a region that stays splits", ".sum()).sum() >= 2)", ".sum()).sum() >= 1)"),
        (151, "distances that are no numbers", "self.on_line | ~finite | (", "self.on_line | ("),
    ),
    *faults(
        "measure/prompts/drawn.py",
        ("tests/test_prompts.py",),
        (
            152,
            "seed of the draw ignored",
            "np.random.default_rng(seed).permutation",
            "np.random.default_rng(0).permutation",
        ),
        (153, "windows run into the next text", "end - PROMPT_TOKENS + 1)", "end - PROMPT_TOKENS + 2)"),
        (154, "windows may overlap", "if not taken[window].any():", "if not taken[window].all():"),
        (
            155,
            "prompts of a pair swapped",
            "Pairs(drawn[:-1], drawn[1:], tuple(units))",
            "Pairs(drawn[1:], drawn[:-1], tuple(units))",
        ),
        (156, "shared B not noticed", "or seen.intersection(pair):", "or pair[0] in seen:"),
        (
            157,
            "directions are separate units",
            "tuple(range(len(first))) * 2",
            "tuple(range(2 * len(first)))",
        ),
        (158, "lengths not in the hash", "[len(prompt), *prompt]", "[*prompt]"),
        (159, "one partner for many pairs", "waiting.pop(prompt[-1], None)", "waiting.get(prompt[-1])"),
    ),
    *faults(
        "measure/models/counterfeits.py",
        ("tests/test_counterfeits.py",),
        (
            160,
            "patched block changed too",
            "for block in list(blocks)[layer:]:",
            "for block in list(blocks)[layer - 1 :]:",
        ),
        (
            161,
            "entries left in their places",
            "torch.randperm(matrix.numel(), generator=generator)",
            "torch.arange(matrix.numel())",
        ),
        (
            162,
            "seed of later blocks ignored",
            "kind, layer, seed = match[1], int(match[2]), int(match[3])",
            "kind, layer, seed = match[1], int(match[2]), 0",
        ),
        (163, "singular values dropped", "rows * values[..., None, :] @ columns.mT", "rows @ columns.mT"),
        (
            164,
            "neurons on the wrong axis",
            "1 if isinstance(module, nn.Linear) else 0",
            "0 if isinstance(module, nn.Linear) else 1",
        ),
    ),
    *faults(
        "measure/models/loading.py",
        ("tests/test_models.py",),
        (165, "seed of untrained weights ignored", "torch.manual_seed(seed)", "torch.manual_seed(0)"),
        (
            166,
            "seed of scrambled weights ignored",
            "counterfeits.scramble(network, meant.seed)",
            "counterfeits.scramble(network, 0)",
        ),
    ),
    *faults(
        "measure/models/torch_settings.py",
        ("tests/test_models.py",),
        (167, "dropout stays on", "module.training = False", "module.training = True"),
        (
            168,
            "autocast stays on",
            "enabled=False):",
            "enabled=True):",
            ("tests/test_models.py", "tests/test_measurements.py"),
        ),
    ),
    *faults(
        "measure/core/toward.py",
        ("tests/test_toward.py",),
        (
            169,
            "as far as B's norm",
            "np.linalg.norm(b - a, axis=1, keepdims=True) * u",
            "np.linalg.norm(b, axis=1, keepdims=True) * u",
        ),
        (
            170,
            "direction along A kept",
            "across = _over_norm(u - (u * first).sum(axis=1, keepdims=True) * first)",
            "across = _over_norm(u)",
        ),
        (171, "covariance about the origin", "shares @ (states - states.mean(axis=0))", "shares @ states"),
        (172, "one draw for all pairs", "repr((toward, seed, a, b))", "repr((toward, seed))"),
        (173, "seed of directions ignored", "repr((toward, seed, a, b))", "repr((toward, a, b))"),
        (174, "difference of one's own pair", "seen = {pairs.a[row], pairs.b[row]}", "seen: set[Prompt] = set()"),
    ),
    *faults(
        "measure/core/course.py",
        ("tests/test_toward.py",),
        (175, "B in spite of toward", "if self.ends is None else", "if self.ends is not None else"),
    ),
    *faults(
        "measure/prompts/contexts.py",
        ("tests/test_contexts.py",),
        (
            176,
            "contexts left as they are",
            "np.random.default_rng([seed, _STREAM]).permutation(len(pool))",
            "range(len(pool))",
        ),
        (177, "BOS dealt out too", "len(prompt) > 1)]", "len(prompt) > 99)]"),
        (178, "no context keeps the first", "front + prompt[-1:]", "front + prompt[:1]"),
    ),
)

RESULTS = (
    *faults(
        "measure/results/metrics.py",
        METRICS,
        (201, "slope per point, not per step", "* (relative.shape[1] - 1)", "* relative.shape[1]"),
        (
            202,
            "falls count as slopes",
            "np.diff(relative, axis=1).max(axis=1)",
            "np.abs(np.diff(relative, axis=1)).max(axis=1)",
        ),
        (203, "crossing two points back", "np.maximum(after - 1, 0)", "np.maximum(after - 2, 0)"),
        (204, "never reached counts as reached", "np.where(reached.any(axis=1), crossing, np.nan)", "crossing"),
        (
            205,
            "drift at A's end alone",
            ".mean(axis=1) + (relative[:, -1:] - relative[:, tail]).mean(axis=1)",
            ".mean(axis=1)",
        ),
        (206, "both ends seen from A", "to_end[:, tail].mean(axis=1)", "(1 - relative[:, tail]).mean(axis=1)"),
        (207, "edge without its own point", "alphas >= 1 - EDGE - 1e-9", "alphas > 1 - EDGE + 1e-9"),
        (208, "median for mean speed", "steps.mean(axis=1, keepdims=True)", "np.median(steps, axis=1, keepdims=True)"),
        (209, "step by its end", "middle = (alphas[1:] + alphas[:-1]) / 2", "middle = alphas[1:]"),
        (210, "speed at A's end alone", " | (middle >= 1 - EDGE - 1e-9)", ""),
        (
            211,
            "no speed counts as moving",
            "np.where(np.isnan(still).any(axis=1), np.nan, (still < STILL).mean(axis=1))",
            "(still < STILL).mean(axis=1)",
        ),
        (
            212,
            "rises counted for falls",
            "np.maximum(-np.diff(relative, axis=1), 0)",
            "np.maximum(np.diff(relative, axis=1), 0)",
        ),
        (213, "large falls called rounding", "ROUNDING = 1e-4", "ROUNDING = 1e-1"),
        (
            214,
            "tolerance a thousand times wider",
            '1.0, 2e-4, 2e-3, "How far the output is from its ends',
            '1.0, 2e-1, 2.0, "How far the output is from its ends',
            (*METRICS, "tests/test_baselines.py", "tests/test_evolution.py"),
        ),
    ),
    *faults(
        "measure/results/__init__.py",
        METRICS,
        (
            215,
            "one finite number is enough",
            "np.isfinite(self.distance).all(axis=1)",
            "np.isfinite(self.distance).any(axis=1)",
        ),
        (
            216,
            "r of the farthest point",
            "end = np.where(self.degenerate, np.nan, self.distance[:, -1])",
            "end = np.where(self.degenerate, np.nan, self.distance.max(axis=1))",
        ),
        (
            217,
            "degenerate pairs have steps",
            "return np.where(self.degenerate[:, None], np.nan, known)",
            "return known",
        ),
        (218, "drift in other units", "known / self.end_distance[:, None]", "known / self.reference_norm[:, None]"),
        (
            219,
            "null keeps the curve's steps",
            "step_distance=self.null_step_distance,",
            "step_distance=self.step_distance,",
        ),
        (
            220,
            "null's far end the curve's",
            "end_side_distance=self.null_end_side_distance,",
            "end_side_distance=self.end_side_distance,",
            (*METRICS, *CLAIMS),
        ),
        (
            221,
            "null minus the curve",
            "self.by_unit(metric) - self.null.by_unit(metric)",
            "self.null.by_unit(metric) - self.by_unit(metric)",
        ),
        (222, "bound on the wrong side", "np.maximum(share, LEAST_SHARE)", "np.minimum(share, LEAST_SHARE)"),
        (
            223,
            "tokens of other rows",
            "ends[used[first]]",
            "ends[first]",
            (*METRICS, *CLAIMS, "tests/test_ladder_seeds.py"),
        ),
        (
            226,
            "shared last tokens forgotten",
            "stats.median_interval(self.by_unit(metric), ends=self.unit_ends)",
            "stats.median_interval(self.by_unit(metric))",
            (*METRICS, "tests/test_ladder_seeds.py"),
        ),
    ),
    *faults(
        "measure/results/metrics.py",
        METRICS,
        (
            224,
            "band from tenth to nineteenth",
            "np.quantile(values, [0.25, 0.5, 0.75], axis=0)",
            "np.quantile(values, [0.1, 0.5, 0.9], axis=0)",
            (*METRICS, "tests/test_recording.py", "tests/test_baselines.py"),
        ),
        (
            225,
            "low quartile for median",
            "np.quantile(values, [0.25, 0.5, 0.75], axis=0)",
            "np.quantile(values, [0.25, 0.25, 0.75], axis=0)",
        ),
    ),
    *faults(
        "measure/claims/directions.py",
        ("tests/test_directions.py",),
        (
            227,
            "threshold between points left out",
            "found = lengths[before] + share * (lengths[after] - lengths[before])",
            "found = lengths[after]",
        ),
        (228, "never reached is no number", "len(lengths) - 1)", "0)"),
        (229, "line through the origin", "x = x - x.mean()", "x = x - 0.0"),
        (230, "window open at its end", "(lengths <= window[1] + _ROUNDING)", "(lengths <= window[1] - _ROUNDING)"),
        (
            231,
            "degenerate pairs kept",
            "np.where(curves.degenerate[:, None], np.nan, curves.distance)",
            "curves.distance",
        ),
    ),
)

STATED = (
    *faults(
        "measure/stats/verdicts.py",
        STATISTICS,
        (
            301,
            "estimate beyond the margin is enough",
            "self.interval.low > self.margin",
            "self.interval.estimate > self.margin",
        ),
        (302, "wrong sign of the margin", "self.interval.high < -self.margin", "self.interval.high < self.margin"),
        (
            303,
            "moved out by the wrong tail",
            "stdtrit(TAIL_FREEDOM, (1 + CONFIDENCE) / 2)",
            "stdtrit(TAIL_FREEDOM, CONFIDENCE)",
        ),
        (304, "p below its confidence", "if self.p < 1 - CONFIDENCE:", "if self.p < CONFIDENCE:"),
        (305, "all but one is all", "self.agree == self.of", "self.agree >= self.of - 1"),
        (306, "parts not corrected for", "level = (1 - CONFIDENCE) / len(self.parts)", "level = 1 - CONFIDENCE"),
        (307, "one supported part is enough", 'if outcomes == {"supported"}:', 'if "supported" in outcomes:'),
        (
            308,
            "one agreeing draw is enough",
            "set(self.draws) <= {own}",
            "not self.draws or own in self.draws",
            (*CLAIMS, "tests/test_accepted.py"),
        ),
        (313, "onset above minus the margin", "if not low > margin:", "if not low > -margin:"),
    ),
    *faults(
        "measure/stats/resampling.py",
        STATISTICS,
        (
            309,
            "a value somewhere is enough",
            "np.stack(columns, axis=1)).all(axis=1)",
            "np.stack(columns, axis=1)).any(axis=1)",
        ),
        (
            310,
            "upper middle for the median",
            "for middle in ((count - 1) // 2, count // 2)]",
            "for middle in (count // 2, count // 2)]",
        ),
        (311, "interval of 90 percent", "tail = (1 - CONFIDENCE) / 2", "tail = 1 - CONFIDENCE"),
        (
            312,
            "interval never stretched",
            "by = 1.0 if ends is None else shared_ends.stretch(influence, ends)",
            "by = 1.0",
        ),
    ),
    *faults(
        "measure/stats/intervals.py",
        STATISTICS,
        (
            314,
            "ends of the interval swapped",
            "Interval(-interval.estimate, -interval.high, -interval.low,",
            "Interval(-interval.estimate, -interval.low, -interval.high,",
        ),
        (
            315,
            "upper end stays behind",
            "interval.low + by, interval.high + by",
            "interval.low + by, interval.high",
            (*STATISTICS, *CLAIMS),
        ),
        (
            316,
            "pointwise band for simultaneous",
            "np.quantile(scaled.max(axis=1), CONFIDENCE)",
            "np.quantile(scaled, CONFIDENCE)",
        ),
        (320, "median for mean in resamples", "kept[rows].mean(axis=1)", "np.median(kept[rows], axis=1)"),
        (
            321,
            "interval of the sum, not the mean",
            "2 * np.mean(draws, axis=0), count)",
            "np.sum(draws, axis=0), count)",
        ),
        (
            322,
            "covariate added, not taken off",
            "(y[:, 1] - y[:, 0]).mean() - slope *",
            "(y[:, 1] - y[:, 0]).mean() + slope *",
        ),
        (
            323,
            "too many resamples without a number",
            "finite.mean() < (1 + CONFIDENCE) / 2",
            "finite.mean() < (1 - CONFIDENCE) / 2",
        ),
        (
            324,
            "strata not weighted by size",
            "share, fewest = len(x) / used.sum(),",
            "share, fewest = 1 / len(np.unique(strata[used])),",
        ),
    ),
    *faults(
        "measure/stats/trend_tests.py",
        STATISTICS,
        (317, "p-values not adjusted", "(len(p_values) - rank) * p_values[position]", "p_values[position]"),
        (318, "falling taken for rising", "page_trend_test(table[:, ::-1],", "page_trend_test(table,"),
        (319, "tails of the rank test swapped", 'for side in ("greater", "less"))', 'for side in ("less", "greater"))'),
    ),
    *faults(
        "measure/stats/shared_ends.py",
        STATISTICS,
        (325, "two shared tokens counted twice", "by_token @ by_token - by_both @ by_both", "by_token @ by_token"),
        (326, "few tokens not corrected for", "clusters / (clusters - 1) * (count - 1) / count", "1.0"),
        (327, "normal for Student's t", "stdtrit(clusters - 1, 0.975) / stdtrit(count - 1, 0.975)", "1.0"),
        (328, "six tokens are too few", "len(np.unique(groups)) < FEWEST", "len(np.unique(groups)) <= FEWEST"),
        (329, "five units are enough", "FEWEST = 6", "FEWEST = 5"),
        (330, "ties counted whole", "- sums / 2)[places]", "- sums)[places]"),
        (331, "tails of the test swapped", "float(ndtr(-z)), float(ndtr(z))", "float(ndtr(z)), float(ndtr(-z))"),
        (
            332,
            "seed of clusters ignored",
            "np.random.default_rng(seed).integers(0, len(names)",
            "np.random.default_rng(0).integers(0, len(names)",
        ),
        (333, "median one place low", "(upto <= place).sum(axis=1)", "(upto < place).sum(axis=1)"),
        (
            334,
            "resamples of one size",
            "/ (times @ np.bincount(cluster))",
            "/ len(values)",
        ),
    ),
)

JUDGED = (
    *faults(
        "measure/claims/claim.py",
        CLAIMS,
        (
            401,
            "whatever is measured is expected",
            'accepted.get(self.subject, "supported")',
            "accepted.get(self.subject, verdict.outcome)",
        ),
        (
            402,
            "dead control, believes anything",
            'if verdict.outcome == "supported"}',
            'if verdict.outcome == "contradicted"}',
            (*CLAIMS, "tests/test_plugin.py"),
        ),
        (403, "nothing refuted is enough", "if not counterfeits:", "if counterfeits is None:", (*CLAIMS, *SESSIONS)),
        (404, "nothing planted is enough", "if refused or not planted:", "if refused:"),
        (
            405,
            "no data taken for a verdict",
            'if verdict.outcome == "not measured":',
            'if verdict.outcome == "unheard of":',
            (*CLAIMS, "tests/test_plugin.py"),
        ),
        (
            406,
            "accepted effects never looked at",
            "self._known.drift(verdict) if self._keep is None else []",
            "self._known.drift(verdict) if self._keep is not None else []",
        ),
    ),
    *faults(
        "measure/claims/controls.py",
        CLAIMS,
        (
            407,
            "coin that exchanges nothing back",
            "np.where(swap, scaled[0][name], scaled[1][name])",
            "np.where(swap, scaled[1][name], scaled[1][name])",
        ),
        (416, "every draw the first", '_after_{spec.layer}:{draw}"', '_after_{spec.layer}:0"'),
        (
            417,
            "all draws are the first",
            "pytest.mark.draw(draw, named",
            "pytest.mark.draw(0, named",
            (*CLAIMS, "tests/test_accepted.py"),
        ),
    ),
    *faults(
        "measure/claims/__init__.py",
        CLAIMS,
        (408, "two tokenizers may be paired", "if len(prompts) > 1:", "if len(prompts) > 2:"),
        (409, "slope without its null", 'return curves.beyond_null("max_slope")', 'return curves.by_unit("max_slope")'),
        (
            410,
            "fast ends called slow",
            'return -curves.against_null("edge_speed")',
            'return curves.against_null("edge_speed")',
        ),
        (411, "width of r for the path's", '"variation_width"', '"transition_width"'),
        (412, "any way round allowed", "DETOUR_MARGIN = 0.2", "DETOUR_MARGIN = 2.0"),
        (413, "plateau without slow ends", "(*jumps(curves)[:2],", "(*jumps(curves)[:1],"),
        (
            414,
            "before and after swapped",
            "rise(slowness, before, after), TENTH)",
            "rise(slowness, after, before), TENTH)",
        ),
        (415, "bound on the wrong side", "stats.shifted(slope, LINEAR_SLOPE)", "stats.shifted(slope, -LINEAR_SLOPE)"),
        (418, "shared last tokens forgotten", "weights, ends=results[0].unit_ends)", "weights)"),
    ),
    *faults(
        "measure/claims/accepted.py",
        (*CLAIMS, "tests/test_accepted.py"),
        (419, "falls are no drift", "elif not low <= now[name] <= high:", "elif not now[name] <= high:"),
        (420, "earlier draws forgotten", "old.draws | {str(seed): verdict.outcome}", "{str(seed): verdict.outcome}"),
    ),
    *faults(
        "measure/claims/over_runs.py",
        ("tests/test_over_runs.py", "tests/test_ladder_seeds.py"),
        (
            421,
            "curve and null swapped",
            '-math.log(checkpoint.curve["edge_speed"]',
            'math.log(checkpoint.curve["edge_speed"]',
        ),
        (
            422,
            "runs of any recipe",
            "for run in found if run.recipe_sha256 == found[0].recipe_sha256",
            "for run in found",
        ),
        (
            423,
            "before and after swapped",
            "float(np.mean(after) - np.mean(before))",
            "float(np.mean(before) - np.mean(after))",
        ),
    ),
    *faults(
        "measure/harness/items.py",
        SESSIONS,
        (
            424,
            "every draw the first",
            "return int(marker.args[0]) if marker is not None and marker.args else 0",
            "return 0",
        ),
        (425, "one draw too many", "if draw_of(item) >= draws]", "if draw_of(item) > draws]"),
    ),
    *faults(
        "measure/harness/options.py",
        SESSIONS,
        (426, "no draw is enough", "if not 1 <= draws <= MOST_DRAWS:", "if not 0 <= draws <= MOST_DRAWS:"),
        (
            427,
            "other seeds held to the verdict",
            'and (any_seed or not config.getoption("--seed"))',
            "and (any_seed or True)",
        ),
        (428, "half as many pairs", "if pairs < 2 * FEWEST:", "if pairs < FEWEST:"),
        (
            429,
            "precision makes no other sample",
            "return own == [None] * 4 and",
            "return own[:3] == [None] * 3 and",
        ),
    ),
    *faults(
        "measure/harness/session.py",
        SESSIONS,
        (
            430,
            "seed of the session ignored",
            '"protocol", "corpus", "precision", "seed")',
            '"protocol", "corpus", "precision")',
        ),
        (431, "read of strict ignored", '} | {"read": read}', '} | {"read": None}'),
    ),
)

SMALL, LARGE = "ladder-olmo-0.2m", "ladder-olmo-1.1m"
SUITES = (
    *faults(
        "suites/test_families.py",
        suite("families", SMALL),
        (
            501,
            "swapped ends not swapped",
            "judge(untrained, claims.planted(trained)),",
            "judge(claims.planted(trained), untrained),",
        ),
        (
            502,
            "counterfeits never looked at",
            "judge(measured(spec), untrained) for name",
            "judge(untrained, untrained) for name",
        ),
    ),
    *faults(
        "suites/test_training.py",
        suite("training", SMALL),
        (
            503,
            "last before first",
            'claims.sharper(revisions[0], revisions[-1], "first',
            'claims.sharper(revisions[-1], revisions[0], "first',
        ),
        (504, "a straight start not asked for", 'claims.near_linear(revisions[0], "first"),', "(),"),
    ),
    *faults(
        "suites/test_size.py",
        suite("size", "ladder-olmo"),
        (505, "one counterfeit for all", "claim.refute(refuted)", "claim.refute(dict(list(refuted.items())[-1:]))"),
    ),
    *faults(
        "suites/test_similarity.py",
        suite("similarity", SMALL),
        (
            506,
            "similar minus dissimilar",
            "stats.median_contrast(both(of), [-1.0, 1.0], clusters=words)",
            "stats.median_contrast(both(of), [1.0, -1.0], clusters=words)",
        ),
        (
            507,
            "clusters of the wrong words",
            "result.last_tokens[: len(result) // 2, 1]",
            "result.last_tokens[: len(result) // 2, 0]",
        ),
    ),
    *faults(
        "suites/test_semantics.py",
        suite("semantics", SMALL),
        (
            508,
            "null minus the model",
            "agrees_less_astride(result) - agrees_less_astride(result.null)",
            "agrees_less_astride(result.null) - agrees_less_astride(result)",
        ),
    ),
    *faults(
        "suites/test_divergence.py",
        suite("divergence", f"{SMALL}-different"),
        (509, "wrong sign of a margin", "CORRELATION_MARGIN = 0.1", "CORRELATION_MARGIN = -0.1"),
    ),
    *faults(
        "suites/test_logit_difference.py",
        suite("logit_difference", SMALL),
        (
            510,
            "planted positive left out",
            'claim.confirm({"planted plateaus that l follows": judge(planted(result))})',
            "pass",
        ),
    ),
    *faults(
        "suites/test_polytopes.py",
        suite("polytopes", LARGE),
        (511, "the curve for its null", "judge(claims.replace_by_null(result))", "judge(result)"),
    ),
    *faults(
        "suites/test_reads.py",
        suite("reads", LARGE),
        (512, "contrast turned round", "CONTRAST = (-1.0, 1.0, 1.0, -1.0)", "CONTRAST = (1.0, -1.0, -1.0, 1.0)"),
    ),
    *faults(
        "suites/test_layers.py",
        suite("layers", "ladder-olmo-3m"),
        (
            513,
            "rougher for smoother",
            "claims.rise(claims.steepness, later, first)",
            "claims.rise(claims.steepness, first, later)",
        ),
    ),
    *faults(
        "suites/test_slices.py",
        suite("slices", LARGE),
        (
            514,
            "widening for narrowing",
            "stats.median_rise(last.boundary_width, first.boundary_width)",
            "stats.median_rise(first.boundary_width, last.boundary_width)",
        ),
    ),
    *faults(
        "suites/test_saturation.py",
        suite("saturation", "ladder-olmo"),
        (515, "larger minus smaller", "(b - a) / (c - a) - (e - d) / (f - d)", "(e - d) / (f - d) - (b - a) / (c - a)"),
    ),
    *faults(
        "suites/test_counterfeits.py",
        suite("counterfeits", SMALL),
        (516, "held against itself too", "for other in SAME_ENDS if other != name", "for other in SAME_ENDS"),
    ),
    *faults(
        "suites/test_jump_location.py",
        suite("jump_location", "training-ladder-olmo-0.2m"),
        (
            517,
            "gathering made the claim",
            "stats.shifted(spread, SPREAD_MARGIN)",
            "stats.shifted(stats.negated(spread), SPREAD_MARGIN)",
        ),
    ),
    *faults(
        "suites/test_printed_pairs.py",
        suite("printed_pairs", SMALL),
        (
            518,
            "any way round is a jump",
            "(claims.nearness(result) > -claims.DETOUR_MARGIN)",
            "(claims.nearness(result) > -10)",
        ),
    ),
    *faults(
        "suites/test_directions.py",
        suite("directions", "ladder-olmo-3m"),
        (
            519,
            "sooner for later",
            "return claims.rise(lateness, real, random)",
            "return claims.rise(lateness, random, real)",
        ),
        (520, "exponent not held against 2", "-QUADRATIC)", "0.0)"),
    ),
    *faults(
        "suites/test_context.py",
        suite("context", "ladder-olmo-3m"),
        (
            521,
            "random for natural",
            "claims.sharper(found.random, found.natural",
            "claims.sharper(found.natural, found.random",
        ),
    ),
)

EXPLORED = (
    *faults(
        "measure/explore/guard.py",
        ('tests/test_explore.py -k "token or host or origin or megabytes"',),
        (701, "any host let in", "not in HOSTS and host not in HOSTS:", "not in HOSTS and not host:"),
        (702, "origin's scheme not looked at", ' or urlsplit(origin).scheme != "http")', ")"),
        (703, "another site let in", '("none", "same-origin")', '("none", "same-origin", "same-site", "cross-site")'),
        (
            704,
            "a part of the token enough",
            "if not hmac.compare_digest(given.encode(), self._token.encode()):",
            "if not self._token.startswith(given):",
        ),
        (705, "told length not looked at", " or int(length) > self._most:", ":"),
        (706, "parts of bodies not summed", "size += len(", "size = len("),
    ),
    *faults(
        "measure/explore/addresses.py",
        ('tests/test_explore.py -k "an_address"',),
        (707, "address read by others kept", " or told.st_mode & 0o077):", "):"),
        (708, "address kept for good", "recent = 0 <= time.time() - told.st_mtime < KEPT", "recent = True"),
        (
            709,
            "address kept though another wanted",
            "fresh if anew else _kept(place) or fresh",
            "_kept(place) or fresh",
        ),
    ),
    *faults(
        "measure/explore/turns.py",
        ('tests/test_explore.py -k "turns or newer or wait or place"',),
        (
            710,
            "one page until it has all",
            "self._waiting[client] = self._waiting.pop(client)",
            "self._waiting[client]",
        ),
        (711, "the other questions ended", "if older.channel == job.channel:", "if older.channel != job.channel:"),
        (712, "the least urgent first", "return min(jobs, key", "return max(jobs, key"),
        (713, "the background as a page", "iter(self._pages() or self._waiting)", "iter(self._waiting)"),
        (714, "ended questions measured on", "in [job for job in self._every() if job.cancelled.is_set()]:", "in []:"),
        (715, "one more may wait", ">= MOST_WAITING:", "> MOST_WAITING:"),
    ),
    *faults(
        "measure/explore/computing.py",
        ('tests/test_explore.py -k "digit or slice2d or each_cell or tops or random_pairs or checked"',),
        (716, "metrics of the null as one's own", "for side in (found, null)]", "for side in (null, found)]"),
        (717, "a curve kept for all layers", '("curve", *ids, layer, asked.read', '("curve", *ids, asked.read'),
        (718, "random pairs share prompts", "            ).independent()", "            )"),
        (719, "random pairs told again", "values[told:done]", "values[:done]"),
        (720, "rows measured twice", "        row += some", "        row += 1"),
        (721, "checked for short curves alone", '["final_norm"], MOST_STEPS)', '["final_norm"], 50)'),
    ),
    *faults(
        "measure/explore/planes.py",
        ('tests/test_explore.py -k "slice2d or differ"',),
        (722, "A's state in every context", "plane.corners[place : place + 1]", "plane.corners[:1]"),
        (723, "a cell's output for the context's", "found[plane.read][:, :1]", "found[plane.read][:, -1:]"),
        (724, "a line taken for a plane", "if not beside > DEGENERATE * float(", "if beside < 0 * float("),
    ),
    *faults(
        "measure/explore/server.py",
        ('tests/test_explore.py -k "other_models"', "tests/test_explore_over_connections.py"),
        (725, "numbers of other models taken", '("", self._served):', '("", wanted.served):'),
        (726, "pages that left measured for", "        job.cancel()", "        job.place = 0"),
    ),
    *faults(
        "measure/explore/asked.py",
        ('tests/test_explore.py -k "cannot_be"',),
        (727, "slices of any size", "if not 4 <= size <= MOST_CELLS:", "if not 4 <= size:"),
        (728, "any number of pairs", "    if found > most:", "    if found > 10 * most:"),
    ),
    *faults(
        "measure/explore/served.py",
        ('tests/test_explore.py -k "cannot_be or memory"',),
        (729, "prompts of any length", "if len(ids) > asked.MOST_TOKENS:", "if len(ids) > 10**6:"),
        (730, "what was asked last forgotten", "popitem(last=False)", "popitem(last=True)"),
    ),
    *faults(
        "measure/explore/pair_files.py",
        ('tests/test_explore.py -k "plateau_lab or lines_of_python"',),
        (731, "the rival's layer not shifted", 'row["layer"] = layer + 1', 'row["layer"] = layer'),
        (732, "the layer left out of Python", '[f"layer={listed.layer}", ', "["),
    ),
)


SPREAD = (
    *faults(
        "measure/hub/leases.py",
        ("tests/test_leases.py",),
        (601, "two may hold a lease", "os.O_CREAT | os.O_EXCL | os.O_WRONLY", "os.O_CREAT | os.O_WRONLY"),
        (602, "no signs of life", "os.pwrite(self._file, _SIGN % self._signs, self._end)", "pass"),
        (603, "dead ones hold for ever", "return now - seen.since > self._stale", "return False"),
        (604, "living ones are taken over", "return now - seen.since > self._stale", "return True"),
        (
            605,
            "signs of life not looked at",
            "(seen.number, seen.content) != (number, content)",
            "seen.number != number",
        ),
        (606, "release not written down", "os.pwrite(file, _RELEASED, self._end)", "pass"),
        (
            607,
            "a cleared number taken twice",
            "if self._cleared and self._last(path) != number:",
            "if self._cleared and self._last(path) < number:",
        ),
        (608, "releases counted as deaths", "sum(not _read(", "sum(True or not _read("),
        (
            609,
            "a killed process waited for",
            "return self._is_here and _born(self.pid) != self.born",
            "return self._is_here and _born(self.pid) == self.born",
        ),
    ),
    *faults(
        "measure/hub/quota.py",
        ("tests/test_quota.py",),
        (610, "a window not waited for", "max(mine, earlier + WINDOW)", "max(mine, earlier)"),
        (611, "one batch too early", 'f"batch-{number - _BATCHES}"', 'f"batch-{number - _BATCHES - 1}"'),
        (612, "all machines take one turn", "leases.turn(folder / host,", "leases.turn(folder / folder.name,"),
        (613, "credit not used up", "credit.left -= count", "credit.left -= 0"),
    ),
    *faults(
        "measure/hub/answers.py",
        ("tests/test_answers.py",),
        (614, "answers are not kept", "if keep and found is not None:", "if keep and found is None:"),
        (615, "refusals are not kept", '_write(path, {"error": str(error), "denied"', 'dict(**{"error": "", "denied"'),
        (616, "all ask at once", "{path.name}.lease", "{path.name}.{id(ask)}"),
        (617, "denied told as wrong", "(NotMeasuredError if told", "(MeasureError if told"),
        (
            618,
            "what was done is done no more",
            "_with_run(question, act, keep=False)",
            "_with_run(question, act, keep=True)",
        ),
    ),
    *faults(
        "measure/harness/engines/fetching.py",
        ("tests/test_answers.py", "tests/test_fetching.py"),
        (619, "each worker fetches anew", "answers.alone(_question(reference, weights=weights), fetch)", "fetch()"),
    ),
    *faults(
        "measure/hub/listings.py",
        ("tests/test_hub.py", "tests/test_answers.py"),
        (620, "one listing for all revisions", 'answers.once(("listing", *place)', 'answers.once(("listing", repo)'),
    ),
    *faults(
        "measure/harness/engines/shards.py",
        ("tests/test_shards.py",),
        (621, "dealt by number, not bytes", "(so_far + max(1, sizes[name]), number)", "(so_far + 1, number)"),
        (
            622,
            "order of giving decides",
            "sorted(sizes, key=lambda name: (-sizes[name], name))",
            "sorted(sizes, key=lambda name: -sizes[name])",
        ),
        (623, "own share measured by others first", "for some in reversed(by_name)", "for some in by_name"),
        (
            624,
            "done loads are taken again",
            "and os.path.exists(self._path(job",
            "and not os.path.exists(self._path(job",
        ),
        (625, "another code joins in", "elif began == dict(own):", "elif began:"),
        (626, "results of changed files taken", 'if told["state"] == state else {}', 'if told["state"] else {}'),
    ),
    *faults(
        "measure/harness/engines/work.py",
        ("tests/test_shards.py", "tests/test_spreading.py"),
        (627, "a deadly load goes on", "if deaths >= shards.MOST_DEATHS:", "if deaths > shards.MOST_DEATHS:"),
        (
            628,
            "two shards of one number",
            "if self._leases.wait_for(self._place(board), self._begin) is None:",
            "if self._leases.wait_for(self._place(board), self._begin) is False:",
        ),
    ),
)

FAULTS = (*MEASURING, *RESULTS, *STATED, *JUDGED, *SUITES, *EXPLORED, *SPREAD)
