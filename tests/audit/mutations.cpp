// SPDX-License-Identifier: Apache-2.0
// Right plans with one thing changed at random: whoever breaks a plan is told. The mutants whose report is that of the
// right plan are listed by `tests_audit "[.mutations]"`.
#include <cstdint>
#include <cstdio>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "catch.hpp"
#include "sanitized.hpp"
#include "shardwise/audit/detail/survey.hpp"
#include "text_model.hpp"

namespace sw = shardwise;

namespace {
/// splitmix64: the same numbers everywhere.
class random_numbers {
 public:
  explicit random_numbers(std::uint64_t seed) : state_(seed) {}
  std::size_t below(std::size_t n) {
    state_ += 0x9e3779b97f4a7c15U;
    std::uint64_t z = state_;
    z = (z ^ (z >> 30U)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27U)) * 0x94d049bb133111ebU;
    return static_cast<std::size_t>((z ^ (z >> 31U)) % n);
  }

 private:
  std::uint64_t state_;
};

using rules = std::vector<sw::rule>;
sw::plan_view view(const rules& r) { return {r.data(), r.size()}; }

// What a rank holds of each parameter, and what each module does over the ranks.
std::string cuts_and_collectives(sw::plan_view plan, const sw::tree& model) {
  const sw::detail::survey s(plan, model);
  std::string out;
  for (const auto& p : s.parameters()) {
    const sw::cut& how = p.what.how;
    out += std::to_string(how.dim) + ' ' + std::to_string(how.whole() ? 1 : how.groups) + ' ';
    out += std::to_string(static_cast<int>(p.what.why)) + '\n';
  }
  for (std::size_t m = 0; m < s.modules().size(); ++m) {
    const sw::style* step = s.step_of(m);
    if (step != nullptr && step->facts().splits_input) out += "split ";
    if (step != nullptr && step->facts().then != sw::collective::none) out += name_of(step->facts().then);
    out += '\n';
  }
  return out;
}

constexpr const char* style_names[] = {"replicate",
                                       "replicated_with_grad_allreduce",
                                       "mla_kv_a_proj",
                                       "colwise",
                                       "rowwise",
                                       "colwise_gather_output",
                                       "rowwise_split_input",
                                       "packed_colwise",
                                       "packed_rowwise",
                                       "embedding_rowwise",
                                       "embedding_colwise",
                                       "moe_tp_experts",
                                       "all_reduce",
                                       "sequence_parallel",
                                       "local_params",
                                       "grouped_gemm",
                                       "ep_dispatch_experts",
                                       "moe_identity_expert"};

/// One change of a plan. Patterns that it makes live in `texts`.
std::string mutate(rules& plan, random_numbers& random, std::deque<std::string>& texts) {
  const std::size_t at = random.below(plan.size());
  sw::rule& r = plan[at];
  const std::string pattern = sw::detail::pattern_text(r);
  const std::string was = pattern + " (" + std::string(r.how.name()) + ")";
  const auto restyle = [&r](sw::style how) {
    how.divided = r.how.divided;
    r.how = how;
  };
  switch (random.below(4)) {
    case 0: plan.erase(plan.begin() + static_cast<std::ptrdiff_t>(at)); return "without " + was;
    case 1: {
      const char* name = style_names[random.below(std::size(style_names))];
      restyle(sw::parse_style(name));
      return was + " as " + name;
    }
    case 2: {
      std::string text = pattern;
      const std::size_t c = random.below(text.size());
      const char letter = static_cast<char>('a' + static_cast<char>(random.below(26)));
      switch (random.below(4)) {
        case 0: text.erase(c, 1); break;
        case 1: text.insert(c, 1, letter); break;
        case 2: text[c] = letter; break;
        default: std::swap(text[c], text[c == 0 ? 0 : c - 1]); break;
      }
      texts.push_back(text);
      r = sw::rule(std::string_view(texts.back()), r.how, sw::dialect::hugging_face);
      return was + " as " + text;
    }
    default: {
      const sw::style_kind kind = r.how.kind;
      const int groups = 1 + static_cast<int>(random.below(4));
      if (kind == sw::style_kind::colwise || kind == sw::style_kind::colwise_gather_output ||
          kind == sw::style_kind::rowwise) {
        restyle(r.how.groups(groups));
      }
      return was + " of " + std::to_string(groups) + " groups";
    }
  }
}

struct outcome {
  std::size_t mutants = 0, changed = 0, told = 0, found = 0;
  std::vector<std::string> untold;
};

std::string findings_of(const sw::audit_report& r) {
  std::string out;
  for (const sw::finding& f : r.findings) out += text_of(f) + '\n';
  return out;
}

outcome mutants_of(const std::string& name, int tp, std::size_t count, std::uint64_t seed) {
  const text_model m = well_known_model(name);
  const sw::imported_plan imported = m.plan.import();
  const sw::plan_view right = imported;
  const std::string cuts = cuts_and_collectives(right, m.tree);
  const sw::audit_report report = audited(right, m.tree, tp);
  const std::string said = text_of(report), findings = findings_of(report);
  random_numbers random(seed);
  outcome o;
  for (; o.mutants < count; ++o.mutants) {
    std::deque<std::string> texts;
    rules plan(right.begin(), right.end());
    const std::string what = mutate(plan, random, texts);
    if (cuts_and_collectives(view(plan), m.tree) == cuts) continue;
    ++o.changed;
    const sw::audit_report now = audited(view(plan), m.tree, tp);
    if (findings_of(now) != findings) ++o.found;
    if (text_of(now) != said) {
      ++o.told;
    } else {
      o.untold.push_back(name + " at tp " + std::to_string(tp) + ": " + what);
    }
  }
  return o;
}

constexpr std::size_t mutants_of_each = sanitized ? 20 : 200;
outcome all_mutants() {
  constexpr const char* families[] = {"llama3_8b", "qwen2_7b", "qwen3_4b",        "qwen3_235b_a22b", "mixtral_8x7b",
                                      "phi3_mini", "olmo2_7b", "qwen3_5_35b_a3b", "deepseek_v3",     "llama4_scout"};
  outcome all;
  for (const char* family : families) {
    const outcome o = mutants_of(family, 2, mutants_of_each, 1 + all.mutants);
    all.mutants += o.mutants;
    all.changed += o.changed;
    all.told += o.told;
    all.found += o.found;
    all.untold.insert(all.untold.end(), o.untold.begin(), o.untold.end());
  }
  return all;
}
}  // namespace

TEST_CASE("of the mutants of right plans that change a cut or a collective 99 in 100 have another report", "[audit]") {
  const outcome all = all_mutants();
  for (const std::string& what : all.untold) UNSCOPED_INFO(what);
  CHECK(all.mutants == 10 * mutants_of_each);
  CHECK(all.changed > all.mutants / 2);
  CHECK(all.told * 100 >= all.changed * 99);
  // The others are right too: groups that are gathered, a head that is cut on its input, an embedding cut on hidden.
  CHECK(all.found * 100 >= all.changed * (sanitized ? 90 : 95));  // of a few the share is rougher
}

TEST_CASE("the mutants whose report is that of the right plan", "[.mutations]") {
  const outcome all = all_mutants();
  std::printf("%zu mutants, %zu change a cut or a collective: %zu have another report, %zu other findings\n",
              all.mutants, all.changed, all.told, all.found);
  for (const std::string& what : all.untold) std::printf("  %s\n", what.c_str());
}
