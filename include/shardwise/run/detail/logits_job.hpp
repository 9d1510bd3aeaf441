// SPDX-License-Identifier: Apache-2.0
// One call of a policy, without its collectives: the message of a rank, and the answer that all messages give.
#pragma once
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <vector>

#include "shardwise/error.hpp"
#include "shardwise/run/detail/logits_key.hpp"
#include "shardwise/run/detail/logits_message.hpp"
#include "shardwise/run/detail/logits_sum.hpp"
#include "shardwise/run/detail/logits_terms.hpp"
#include "shardwise/run/detail/logits_writer.hpp"
#include "shardwise/run/logits_memory.hpp"
#include "shardwise/run/logits_policy.hpp"

namespace shardwise {
inline namespace v0 {
namespace detail {

/// Messages are written and read row by row, and every rank reads the same, so that all come to the same answer, the
/// same error, or the same next message.
class logits_job {
 public:
  /// `w.columns` are the ids of each rank. Throws `logits_error` for what no row could answer.
  logits_job(std::string_view module, const logits_policy& wanted, std::size_t rows, std::size_t vocabulary,
             const logits_options& options, logits_scratch& w)
      : t_(module, wanted, rows, vocabulary, options, w.columns), writer_(t_, w), w_(w) {
    w_.answer = {};
    w_.answer.rows = rows;
    w_.answer.width = wanted.kind == logits_kind::top_k         ? std::min(wanted.k, vocabulary)
                      : wanted.kind == logits_kind::log_softmax ? t_.shape.by_id
                                                                : 1;
    if (rows != 0 && wanted.kind == logits_kind::log_softmax) w_.answer.width = wanted.ids.size() / rows;
    const std::size_t answers = rows * w_.answer.width;
    w_.ids.assign(answers, 0);
    w_.values.assign(answers, 0);
    w_.rounds.assign(t_.shape.has_rounds() ? rows : 0, 0);
    w_.sums.resize(rows);
    if (w_.best.size() < rows * w_.columns.size()) w_.best.resize(rows * w_.columns.size());
    for (auto& list : w_.best) list.clear();
    w_.open.clear();
  }

  logits_job(const logits_job&) = delete;

  std::size_t words() const { return t_.rows * t_.words; }

  /// Of rank `rank`, which has `logits` of all rows.
  void write(int rank, const host_logits& logits, dtype type, std::span<std::uint32_t> out) {
    for (std::size_t i = 0; i < t_.rows; ++i) {
      writer_.first(rank, logits, type, i, out.subspan(i * t_.words, t_.words));
    }
  }
  /// The messages of all ranks. Throws `logits_error`, the same on all of them.
  void read_all(std::span<const std::uint32_t> all) {
    for (std::size_t i = 0; i < t_.rows; ++i) {
      refuse_nan(i, all);
      if (t_.shape.score) {
        read_score(i, all);
        continue;
      }
      for (std::size_t r = 0; r < ranks(); ++r) read_keys(i, r, of(all, i, r).subspan(1), t_.shape.best);
      if (t_.shape.sum) {
        read_sum(i, all);
      }
      if (t_.wanted.kind == logits_kind::log_softmax) {
        answer_by_id(i, all);
      } else if (t_.wanted.kind == logits_kind::sample && t_.temperature != 0) {
        w_.open.push_back(i);
      } else {
        answer_best(i);
      }
    }
    draw();
  }

  /// Rows that need more of each rank's best ids, and the words of that message.
  bool decided() const { return w_.open.empty(); }
  std::size_t words_of_round() const { return w_.open.size() * words_of_open_row(); }
  void write_round(int rank, const host_logits& logits, dtype type, std::span<std::uint32_t> out) {
    for (std::size_t i = 0; i < w_.open.size(); ++i) {
      writer_.more(rank, logits, type, w_.open[i], now(), out.subspan(i * words_of_open_row(), words_of_open_row()));
    }
  }
  void read_round(std::span<const std::uint32_t> all) {
    const std::size_t n = words_of_open_row(), of_rank = words_of_round();
    for (std::size_t i = 0; i < w_.open.size(); ++i) {
      for (std::size_t r = 0; r < ranks(); ++r) {
        read_keys(w_.open[i], r, all.subspan(r * of_rank + i * n, n), now().size());
      }
      ++w_.rounds[w_.open[i]];
    }
    ++round_;
    draw();
  }

  const logits_answer& answer() {
    w_.answer.ids = w_.ids;
    w_.answer.values = w_.values;
    w_.answer.rounds = w_.rounds;
    return w_.answer;
  }

 private:
  std::size_t ranks() const { return w_.columns.size(); }
  interval now() const { return nucleus_round(round_, t_.widest); }
  std::size_t words_of_open_row() const { return logits_message::words_of_key * now().size(); }
  std::span<const std::uint32_t> of(std::span<const std::uint32_t> all, std::size_t row, std::size_t rank) const {
    return all.subspan((rank * t_.rows + row) * t_.words, t_.words);
  }

  template <class T>
  static T get(const std::uint32_t* from) {
    T x;
    std::memcpy(&x, from, sizeof x);
    return x;
  }

  void refuse_nan(std::size_t row, std::span<const std::uint32_t> all) const {
    for (std::size_t r = 0; r < ranks(); ++r) {
      const std::uint32_t id = of(all, row, r)[0];
      if (id != logits_terms::none) refuse_row(row, "is not a number at id ", id);
    }
  }
  template <class... Words>
  [[noreturn]] void refuse_row(std::size_t row, const Words&... words) const {
    raise(logits_error("row ", row, " of the logits of '", t_.module, "' ", words..., ": ", name_of(t_.wanted.kind),
                       " has no answer"));
  }
  // `top` is the row's largest logit.
  void refuse_infinite(std::size_t row, float top) const {
    if (top == minus_infinity) refuse_row(row, "is -inf at each of its ", t_.vocabulary, " ids");
    if (top == -minus_infinity && (t_.shape.sum || t_.wanted.kind == logits_kind::sample) && t_.temperature != 0)
      refuse_row(row, "has +inf");
  }

  void read_keys(std::size_t row, std::size_t rank, std::span<const std::uint32_t> from, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
      const auto key = get<logits_key>(&from[i * logits_message::words_of_key]);
      if (key == 0) break;
      best_of(row, rank).push_back(key);
    }
  }
  std::vector<logits_key>& best_of(std::size_t row, std::size_t rank) { return w_.best[row * ranks() + rank]; }

  // Gives the ids of a row to `take`, best first, as long as it returns true. False where a rank's next best is
  // unknown.
  template <class Take>
  bool best_first(std::size_t row, const Take& take) {
    w_.taken.assign(ranks(), 0);
    for (;;) {
      std::size_t from = 0;
      logits_key best = 0;
      for (std::size_t r = 0; r < ranks(); ++r) {
        const auto& list = best_of(row, r);
        const std::size_t at = w_.taken[r];
        if (at == list.size()) {
          if (at < w_.columns[r].size()) return false;
          continue;
        }
        if (list[at] > best) {
          best = list[at];
          from = r;
        }
      }
      if (best == 0) return true;
      ++w_.taken[from];
      if (!take(best)) return true;
    }
  }

  void give(std::size_t row, std::size_t i, logits_key key) {
    w_.ids[row * w_.answer.width + i] = id_of(key);
    w_.values[row * w_.answer.width + i] = static_cast<double>(logit_of(key));
  }
  void answer_best(std::size_t row) {
    std::size_t n = 0;
    best_first(row, [&](logits_key key) {
      give(row, n, key);
      return ++n < w_.answer.width;
    });
    refuse_infinite(row, static_cast<float>(w_.values[row * w_.answer.width]));
  }
  void read_score(std::size_t row, std::span<const std::uint32_t> all) {
    drawn best;
    for (std::size_t r = 0; r < ranks(); ++r) {
      const auto words = of(all, row, r);
      best.take({get<double>(&words[3]), get<logits_key>(&words[1])});
    }
    refuse_infinite(row, best.key == 0 ? minus_infinity : logit_of(best.key));
    give(row, 0, best.key);
  }

  // The sum over all ids, of what ranks tell of theirs.
  void read_sum(std::size_t row, std::span<const std::uint32_t> all) {
    w_.blocks.clear();
    w_.weighed.clear();  // of a block that ranks share
    std::size_t id = 0;
    for (std::size_t r = 0; r < ranks(); ++r) {
      const auto words = of(all, row, r).subspan(t_.shape.words_before_sum());
      const block_pieces pieces(w_.columns[r], t_.vocabulary);
      std::size_t at = 0;
      const auto as_they_are = [&](std::size_t count) {
        for (std::size_t i = 0; i < count; ++i) {
          w_.weighed.push_back(std::bit_cast<float>(words[at++]));
          if (++id % logits_block == 0 || id == t_.vocabulary) close_block();
        }
      };
      as_they_are(pieces.head.size());
      for (std::size_t b = 0; b < pieces.block_count(); ++b, at += block_pieces::words_of_block)
        w_.blocks.push_back({std::bit_cast<float>(words[at]), get<double>(&words[at + 1])});
      id += pieces.blocks.size();
      as_they_are(pieces.tail.size());
    }
    float top = minus_infinity;
    for (const softmax_sum& b : w_.blocks) top = std::max(top, b.top);
    refuse_infinite(row, top);
    w_.sums[row] = sum_of_blocks(w_.blocks, t_.temperature);
  }
  void close_block() {
    w_.blocks.push_back(sum_of_block(w_.weighed, t_.temperature));
    w_.weighed.clear();
  }
  void answer_by_id(std::size_t row, std::span<const std::uint32_t> all) {
    const softmax_sum& s = w_.sums[row];
    for (std::size_t i = 0; i < t_.shape.by_id; ++i) {
      const std::size_t at = row * t_.shape.by_id + i;
      const auto id = static_cast<std::size_t>(t_.wanted.ids[at]);
      std::size_t owner = 0;
      while (id >= w_.columns[owner].end) ++owner;
      const std::uint32_t word = of(all, row, owner)[t_.shape.words_before_sum() - t_.shape.by_id + i];
      w_.ids[at] = t_.wanted.ids[at];
      w_.values[at] = (static_cast<double>(std::bit_cast<float>(word)) - static_cast<double>(s.top)) - std::log(s.sum);
    }
  }

  // Draws for each open row of which enough is known, and leaves the others open.
  void draw() {
    std::size_t left = 0;
    for (const std::size_t row : w_.open) {
      if (!draw(row)) w_.open[left++] = row;
    }
    w_.open.resize(left);
  }
  bool draw(std::size_t row) {
    const sampling& how = t_.wanted.how;
    w_.kept.clear();
    if (how.top_k != 0) {
      best_first(row, [&](logits_key key) {
        w_.kept.push_back(key);
        return w_.kept.size() < how.top_k;
      });
      refuse_infinite(row, logit_of(w_.kept[0]));
      if (how.top_p < 1) keep_nucleus(sum_of_kept());
    } else {
      const softmax_sum& s = w_.sums[row];
      double sum = 0;
      const bool known = best_first(row, [&](logits_key key) {
        w_.kept.push_back(key);
        sum += softmax_weight(logit_of(key), s.top, t_.temperature);
        return sum < how.top_p * s.sum;
      });
      if (!known) return false;
    }
    drawn best;
    for (const logits_key key : w_.kept) best.offer(key, t_.positions[row], how);
    give(row, 0, best.key);
    return true;
  }
  softmax_sum sum_of_kept() {
    w_.by_id.assign(w_.kept.begin(), w_.kept.end());
    std::sort(w_.by_id.begin(), w_.by_id.end(), [](logits_key a, logits_key b) { return id_of(a) < id_of(b); });
    w_.blocks.clear();
    w_.weighed.clear();
    for (std::size_t i = 0; i < w_.by_id.size(); ++i) {
      w_.weighed.push_back(logit_of(w_.by_id[i]));
      if (i + 1 == w_.by_id.size() || id_of(w_.by_id[i]) / logits_block != id_of(w_.by_id[i + 1]) / logits_block)
        close_block();
    }
    return sum_of_blocks(w_.blocks, t_.temperature);
  }
  void keep_nucleus(const softmax_sum& s) {
    double sum = 0;
    for (std::size_t i = 0; i < w_.kept.size(); ++i) {
      sum += softmax_weight(logit_of(w_.kept[i]), s.top, t_.temperature);
      if (sum >= t_.wanted.how.top_p * s.sum) return w_.kept.resize(i + 1);
    }
  }

  logits_terms t_;
  logits_writer writer_;   // of t_
  std::size_t round_ = 1;  // the next one
  logits_scratch& w_;
};

}  // namespace detail
}  // namespace v0
}  // namespace shardwise
