// SPDX-License-Identifier: Apache-2.0
// Findings about the rules themselves: what matches nothing, owns nothing, ties, covers too little, or has another name
// now.
#pragma once
#include <cstddef>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "shardwise/audit/detail/check_whole.hpp"
#include "shardwise/audit/detail/facts.hpp"
#include "shardwise/plan/import.hpp"

namespace shardwise {
inline namespace v0 {
namespace detail {

class rule_check {
 public:
  rule_check(const facts& all, audit_report& r) : all_(all), to_(r) {}

  void run() {
    refusals();
    holes();
    idle();
    shadowed();
    no_layers();
    for (std::size_t i = 0; i < all_.options.renamed_count; ++i) {
      const renamed_style& s = all_.options.renamed[i];
      finding& f = findings(to_).add(finding_kind::renamed_style, severity::note, std::string(s.pattern));
      f.text = f.subject + " has the style '" + std::string(s.old_name) + "', which Hugging Face has renamed";
      f.fix = "write '" + std::string(s.new_name) + "'";
    }
  }

 private:
  // Rules that `shard` refuses where they do not fit a parameter: ties, dims, config numbers, layouts.
  void refusals() {
    std::set<std::string> told;
    for (const audited& g : all_.groups) {
      if (!g.x.refused() || g.x.why == refusal::does_not_divide) continue;
      constexpr finding_kind kinds[] = {finding_kind::not_covered,   finding_kind::rules_tie,
                                        finding_kind::no_such_dim,   finding_kind::config_number,
                                        finding_kind::config_number, finding_kind::unlike_layout};
      error e("");
      append_refusal(e, g.x, all_.rules, all_.model(), g.subject, g.shape, all_.tp);
      finding& f = findings(to_).add(kinds[static_cast<std::size_t>(g.x.why)], severity::error, g, g.subject);
      f.text = e.text();
      const std::size_t way_out =
          f.text.find(g.x.why == refusal::unlike_layout || g.x.why == refusal::no_such_dim ? ": " : "; ");
      if (way_out != std::string::npos) {
        f.fix = f.text.substr(way_out + 2);
        f.text.resize(way_out);
      } else {
        f.fix = "name a number of config.json that counts what the dim is made of";
      }
    }
  }

  // Parameters without a rule, in a plan of ours.
  void holes() {
    bool imported = all_.rules.size() != 0;
    for (const rule& r : all_.rules) imported &= r.how.divided == division::chunk;
    if (imported) return;
    std::vector<const audited*> open;
    std::size_t count = 0;
    for (const audited& g : all_.groups) {
      if (g.x.covered() || g.x.refused()) continue;
      open.push_back(&g);
      count += g.count;
    }
    if (open.empty()) return;
    finding& f = findings(to_).add(finding_kind::not_covered, severity::error, *open[0], open[0]->subject);
    f.count = count;
    f.text = "no rule matches " + open[0]->subject;
    for (std::size_t i = 1; i < open.size() && i < 8; ++i) f.text += ", " + open[i]->subject;
    if (open.size() > 8) f.text += " and " + std::to_string(open.size() - 8) + " more";
    f.fix = "add a row for each, replicate(\"why\") for what is meant to be whole";
  }

  static bool names_a_layer(const rule& r) {
    for (std::size_t i = 1; i < r.pattern.count; ++i) {
      if (is_number(r.pattern.at[i].text, r.pattern.at[i].size())) return true;
    }
    return false;
  }

  void idle() {
    std::vector<std::string> quiet;
    for (std::size_t i = 0; i < all_.rules.size(); ++i) {
      const rule& r = all_.rules[i];
      if (all_.use.used(i)) continue;
      const std::string pattern = pattern_text(r);
      if (r.matching == dialect::hugging_face && names_a_layer(r)) {
        finding& f = findings(to_).add(finding_kind::rule_of_one_layer, severity::error, pattern);
        f.text = pattern +
                 " has a layer's number, for which Hugging Face writes a star before it looks, so that it "
                 "matches nothing";
        f.fix = "write " + starred(pattern) + ", which is of all layers; a plan of ours can name one";
        continue;
      }
      const std::string meant = nearest(pattern);
      if (r.optional && meant.empty()) {
        // What a family's plan says of what is whole is meant for whichever of it there is.
        if (r.matching == dialect::hugging_face || r.how.reason.empty()) quiet.push_back(pattern);
        continue;
      }
      finding& f =
          findings(to_).add(finding_kind::idle_rule, r.optional ? severity::warning : severity::error, pattern);
      f.text = pattern + " (" + std::string(r.how.name()) + ") matches no parameter and no module";
      f.fix = meant.empty() ? "correct the pattern, or leave the row out" : "did you mean " + meant + "?";
    }
    if (quiet.empty()) return;
    finding& f = findings(to_).add(finding_kind::idle_rule, severity::note, quiet[0]);
    f.text = counted(quiet.size(), "row") + (quiet.size() == 1 ? " matches" : " match") +
             " nothing in this model: " + quiet[0];
    for (std::size_t i = 1; i < quiet.size() && i < 4; ++i) f.text += ", " + quiet[i];
    if (quiet.size() > 4) f.text += ", ...";
    f.fix = "a plan of a family may have rows of modules that not each model has";
  }

  // A thing without a rule that the pattern may have been meant for: a few letters away, or under another prefix.
  std::string nearest(const std::string& pattern) const {
    std::string best;
    std::size_t least = 4;
    for (const audited& g : all_.groups) {
      if (g.x.covered() || g.shape.dims() < 2) continue;
      for (const std::string& thing : {starred(g.thing()), g.subject}) {
        const bool prefix = thing.ends_with("." + pattern) || pattern.ends_with("." + thing);
        // Of two well-known names that are alike neither is the other misspelt.
        const bool other = !usual_style(pattern).empty() && leaf_of(thing) != leaf_of(pattern);
        const std::size_t d = prefix ? 0 : other ? least : distance(thing, pattern);
        if (d < least) {
          least = d;
          best = thing;
        }
      }
    }
    return best;
  }

  // Rules that match and own nothing.
  void shadowed() {
    std::vector<char> owns(all_.rules.size());
    std::set<std::string> seen;
    for (const audited& g : all_.groups) {
      if (g.x.covered()) owns[g.x.who.rule] = 1;
      for (std::string_view at = g.module();; at = module_of(at)) {
        const owner who = find_module_rule(all_.rules, split_name(at));
        if (who.rule != no_rule) owns[who.rule] = 1;
        if (who.tied_with != no_rule) {
          owns[who.tied_with] = 1;
          if (seen.insert(starred(at)).second) module_tie(g, at, who);
        }
        if (at.empty()) break;
      }
    }
    for (std::size_t i = 0; i < all_.rules.size(); ++i) {
      const rule& r = all_.rules[i];
      if (!all_.use.used(i) || owns[i] != 0) continue;
      const std::string pattern = pattern_text(r);
      bool overridden = false;
      std::string winner;
      for (const audited& g : all_.groups) {
        if (!g.x.covered() || matches_parameter(r, split_name(g.name)) == match_level::none) continue;
        const rule& w = all_.rules[g.x.who.rule];
        overridden |= w.overrides > r.overrides;
        if (winner.empty()) winner = pattern_text(w);
      }
      // What a family's plan says of whatever no other row speaks of is meant to be shadowed.
      if (r.optional && (r.deep || winner.empty())) continue;
      finding& f =
          findings(to_).add(finding_kind::shadowed_rule, overridden ? severity::note : severity::warning, pattern);
      f.text = pattern + " (" + std::string(r.how.name()) +
               ") matches, and more literal rules own all that it matches" + (winner.empty() ? "" : ": " + winner);
      f.fix = overridden ? "nothing, if the override is meant" : "leave one of them out";
    }
  }

  // A linear layer's style on a module that only has modules below it, where Hugging Face stops.
  void no_layers() {
    std::set<std::string> layers, told;
    for (const audited& g : all_.groups) layers.insert(starred(g.module()));
    for (const audited& g : all_.groups) {
      for (std::string_view at = g.module(); !at.empty(); at = module_of(at)) {
        const std::uint16_t i = all_.module_rule(at);
        if (i == no_rule || all_.rules[i].matching != dialect::hugging_face) continue;
        const style& how = all_.rules[i].how;
        const bool linear = how.group_count == 1 && (how.facts().cut == cut_of::out || how.facts().cut == cut_of::in);
        const std::string module = starred(at);
        if (!linear || layers.count(module) != 0 || !told.insert(module).second) continue;
        finding& f = findings(to_).add(finding_kind::style_unlike_module, severity::error, g, module);
        f.text = module + " only has modules below it, and " + std::string(how.name()) +
                 " is for a linear layer: Hugging Face refuses to apply it";
        f.fix = "name the layers below it, or leave the row out";
      }
    }
  }

  void module_tie(const audited& g, std::string_view module, const owner& who) {
    if (g.x.why == refusal::tie) return;
    finding& f = findings(to_).add(finding_kind::rules_tie, severity::error, g, starred(module));
    f.text = "two rules are equally specific for " + f.subject + ": " + pattern_text(all_.rules[who.rule]) + " and " +
             pattern_text(all_.rules[who.tied_with]);
    f.fix = "make one of them more literal, or say it in .with({...})";
  }

  const facts& all_;
  audit_report& to_;
};

}  // namespace detail
}  // namespace v0
}  // namespace shardwise
