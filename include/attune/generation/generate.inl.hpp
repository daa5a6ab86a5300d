#pragma once

#include <cmath>
#include <numeric>
#include <utility>

#include <attune/core/random.hpp>
#include <attune/generation/generate.hpp>
#include <attune/generation/sampling.hpp>

namespace attune::detail {

ATTUNE_INLINE bool has_stop_string(std::span<const std::int32_t> tokens, const GenerationOptions& options) {
  if (options.stop_strings.empty()) return false;
  std::size_t longest = 0;
  for (const std::string& text : options.stop_strings) longest = std::max(longest, text.size());
  // No token is worth less than a byte, save those that hold a part of a character.
  const std::size_t tail = std::min(tokens.size(), longest + 16);
  const std::string text = options.decode(tokens.last(tail));
  for (const std::string& stop : options.stop_strings)
    if (text.find(stop) != std::string::npos) return true;
  return false;
}

ATTUNE_INLINE std::vector<GeneratedText> generate_texts(const GenerationSteps& steps,
                                                        const std::vector<std::vector<std::int32_t>>& prompts,
                                                        const GenerationOptions& options,
                                                        const std::vector<std::int32_t>& eos) {
  const std::size_t count = prompts.size(), vocab = static_cast<std::size_t>(steps.vocab_size);
  std::vector<GeneratedText> texts(count);
  std::vector<std::vector<std::int32_t>> context = prompts, next = prompts;
  std::vector<RandomStream> random;
  for (std::size_t i = 0; i < count; ++i) random.emplace_back(options.seed, i);
  std::vector<bool> done(count, false);

  for (std::int64_t step = 0; step < options.max_new_tokens; ++step) {
    if (std::find(done.begin(), done.end(), false) == done.end()) break;
    const std::vector<float> logits = steps.next(next);
    std::size_t row = 0;
    for (std::size_t i = 0; i < count; ++i) {
      next[i].clear();
      if (done[i]) continue;
      const std::span<const float> own(logits.data() + vocab * row++, vocab);
      std::vector<float> scores(own.begin(), own.end());
      penalize_repetitions(scores, context[i], options.repetition_penalty);
      const std::int32_t token = options.do_sample
                                     ? draw_token(sampling_probabilities(scores, options), random[i])
                                     : likeliest(scores);
      GeneratedText& text = texts[i];
      text.logprobs.push_back(log_softmax(own)[static_cast<std::size_t>(token)]);
      text.tokens.push_back(token);
      context[i].push_back(token);
      next[i].push_back(token);
      const bool goes_on = !options.on_token || options.on_token(static_cast<std::int64_t>(i), token);
      if (std::find(eos.begin(), eos.end(), token) != eos.end())
        text.finish_reason = FinishReason::end_of_text;
      else if (has_stop_string(text.tokens, options))
        text.finish_reason = FinishReason::stop_string;
      else if (!goes_on)
        text.finish_reason = FinishReason::callback;
      else
        continue;
      done[i] = true;
      next[i].clear();
    }
  }
  return texts;
}

/// A running or finished beam.
struct Beam {
  std::vector<std::int32_t> tokens{};  // the new ones
  double score = -1e9;
  std::int32_t source = 0;  // the running beam that it continues
  bool finished = false;
};

/// The best of several beams, the earlier among equals.
inline std::vector<Beam> best_beams(std::vector<Beam> beams, std::size_t count) {
  std::stable_sort(beams.begin(), beams.end(),
                   [](const Beam& a, const Beam& b) { return a.score > b.score; });
  if (beams.size() > count) beams.resize(count);
  return beams;
}

/// The best continuations of all running beams by one token.
inline std::vector<Beam> continuations(const std::vector<Beam>& running,
                                       const std::vector<std::vector<float>>& scores, std::size_t count) {
  std::vector<std::pair<double, std::size_t>> all;
  const std::size_t vocab = scores[0].size();
  for (std::size_t b = 0; b < running.size(); ++b)
    for (std::size_t token = 0; token < vocab; ++token)
      all.emplace_back(running[b].score + double{scores[b][token]}, b * vocab + token);
  count = std::min(count, all.size());
  std::partial_sort(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(count), all.end(),
                    [](const auto& a, const auto& b) {
                      return a.first > b.first || (a.first == b.first && a.second < b.second);
                    });
  std::vector<Beam> best;
  for (std::size_t i = 0; i < count; ++i) {
    Beam beam = running[all[i].second / vocab];
    beam.source = static_cast<std::int32_t>(all[i].second / vocab);
    beam.tokens.push_back(static_cast<std::int32_t>(all[i].second % vocab));
    beam.score = all[i].first;
    best.push_back(std::move(beam));
  }
  return best;
}

/// After transformers/generation/utils.py, _beam_search: the same candidates, scores and ends.
ATTUNE_INLINE GeneratedText search_beams(const GenerationSteps& steps,
                                         const std::vector<std::int32_t>& prompt,
                                         const GenerationOptions& options,
                                         const std::vector<std::int32_t>& eos) {
  const auto beams = static_cast<std::size_t>(options.num_beams),
             vocab = static_cast<std::size_t>(steps.vocab_size);
  const std::size_t kept = std::max<std::size_t>(2, 1 + eos.size()) * beams;
  const double penalty = double{options.length_penalty};
  std::vector<Beam> running(beams), finished(beams);
  running[0].score = 0.0;  // the others are copies of it until the first step
  bool improvable = true;

  std::vector<std::vector<std::int32_t>> next(beams);
  next[0] = prompt;
  std::vector<std::int32_t> sources(beams, 0);
  for (std::int64_t length = 1; length <= options.max_new_tokens; ++length) {
    const std::vector<float> logits = steps.next(next);
    std::vector<std::vector<float>> scores;
    for (std::size_t b = 0; b < beams; ++b) {
      const std::size_t row = length == 1 ? 0 : b;
      scores.push_back(log_softmax({logits.data() + row * vocab, vocab}));
      std::vector<std::int32_t> context = prompt;
      context.insert(context.end(), running[b].tokens.begin(), running[b].tokens.end());
      penalize_repetitions(scores.back(), context, options.repetition_penalty);
    }
    std::vector<Beam> candidates = continuations(running, scores, kept);
    bool all_stop = true;
    for (Beam& beam : candidates) {
      beam.finished = length == options.max_new_tokens ||
                      std::find(eos.begin(), eos.end(), beam.tokens.back()) != eos.end() ||
                      has_stop_string(beam.tokens, options);
      all_stop = all_stop && beam.finished;
    }

    std::vector<Beam> going = candidates, merged = finished;
    for (Beam& beam : going)
      if (beam.finished) beam.score -= 1e9;
    running = best_beams(std::move(going), beams);
    const bool full = options.early_stopping == BeamStop::full &&
                      std::all_of(finished.begin(), finished.end(), [](const Beam& b) { return b.finished; });
    for (std::size_t i = 0; i < candidates.size(); ++i) {
      Beam beam = candidates[i];
      beam.finished = beam.finished && i < beams;
      beam.score = beam.score / std::pow(static_cast<double>(length), penalty) - (full ? 1e9 : 0.0) -
                   (improvable ? 0.0 : 1e9) - (beam.finished ? 0.0 : 1e9);
      merged.push_back(std::move(beam));
    }
    finished = best_beams(std::move(merged), beams);

    const auto best_length = static_cast<double>(
        options.early_stopping == BeamStop::never && penalty > 0.0 ? options.max_new_tokens : length);
    const double possible = running[0].score / std::pow(best_length, penalty);
    bool any_better = false;
    double worst = 0.0;
    for (std::size_t i = 0; i < finished.size(); ++i)
      worst = i == 0 ? finished[i].score : std::min(worst, finished[i].score);
    for (const Beam& beam : finished) any_better = any_better || possible > (beam.finished ? worst : -1e9);
    improvable = improvable && any_better;
    const bool enough =
        options.early_stopping == BeamStop::full &&
        std::all_of(finished.begin(), finished.end(), [](const Beam& b) { return b.finished; });
    if (!improvable || enough || all_stop) break;

    for (std::size_t b = 0; b < beams; ++b) {
      sources[b] = length == 1 ? 0 : running[b].source;
      next[b] = {running[b].tokens.back()};
    }
    steps.select(sources);
  }
  const Beam& best = finished.front();
  GeneratedText text{best.tokens, {}, FinishReason::length, static_cast<float>(best.score)};
  if (!best.tokens.empty() && std::find(eos.begin(), eos.end(), best.tokens.back()) != eos.end())
    text.finish_reason = FinishReason::end_of_text;
  else if (has_stop_string(best.tokens, options))
    text.finish_reason = FinishReason::stop_string;
  return text;
}

}  // namespace attune::detail
