// SPDX-License-Identifier: Apache-2.0
// The plan of a checkpoint, by its config.json: the classes and base models that Hugging Face has plans for.
#pragma once
#include <cstddef>
#include <string_view>

#include "shardwise/detail/words.hpp"
#include "shardwise/models/detail/compose.hpp"
#include "shardwise/plan/import.hpp"

namespace shardwise {
inline namespace v0 {
namespace models {

/// One model class with given base models, and its plans. They live as long as the program.
struct family {
  std::string_view architecture;  ///< as config.json says: "LlamaForCausalLM"
  std::string_view model_type;    ///< as config.json says: "llama"
  plan_view hf;                   ///< Hugging Face's merged plan, as it is
  plan_view hf_ep;                ///< its merged expert-parallel plan; empty for a model that has none
  plan_view complete;             ///< `hf`, and every parameter spoken of
  plan_view by_head;              ///< our own plan, every parameter spoken of; empty for a model that has none
};

}  // namespace models

namespace detail {

/// A family, composed once. Families are never let go, so that the views into them stay.
struct composed_family {
  const models::model_class* of;
  class_bases bases;
  composition hf, hf_ep, complete, by_head;
  models::family as_seen;
  composed_family* next;
};
inline composed_family* composed_families = nullptr;

inline const models::family& compose(const models::model_class& c, const class_bases& bases) {
  composed_family* first = __atomic_load_n(&composed_families, __ATOMIC_ACQUIRE);
  for (const composed_family* f = first; f != nullptr; f = f->next) {
    if (f->of == &c && f->bases == bases) return f->as_seen;
  }
  auto* made = new composed_family{&c, bases, {}, {}, {}, {}, {}, first};
  compose_tensor_parallel(made->hf, c, bases);
  compose_expert_parallel(made->hf_ep, c, bases);
  compose_tensor_parallel(made->complete, c, bases);
  compose_whole(made->complete, c, bases);
  const models::by_head_class* by_head = find_by_head(c.architecture, c.model_type);
  if (by_head != nullptr) compose_by_head(made->by_head, *by_head);
  made->as_seen = {c.architecture,     c.model_type,          made->hf.view(),
                   made->hf_ep.view(), made->complete.view(), made->by_head.view()};
  // Two threads may compose the same: both results stay.
  while (
      !__atomic_compare_exchange_n(&composed_families, &made->next, made, false, __ATOMIC_RELEASE, __ATOMIC_RELAXED)) {
  }
  return made->as_seen;
}

/// The three nearest names are kept, the nearest first, each with a note.
struct three_nearest {
  std::string_view at[3]{}, notes[3]{};
  std::size_t distance_to[3] = {~std::size_t{}, ~std::size_t{}, ~std::size_t{}};

  void offer(std::string_view name, std::string_view note, std::size_t d) {
    for (std::size_t i = 0; i < 3; ++i) {
      if (d >= distance_to[i]) continue;
      for (std::size_t k = 2; k > i; --k) {
        at[k] = at[k - 1];
        notes[k] = notes[k - 1];
        distance_to[k] = distance_to[k - 1];
      }
      at[i] = name;
      notes[i] = note;
      distance_to[i] = d;
      return;
    }
  }
  void append_to(error& e) const {
    for (std::size_t i = 0; i < 3; ++i) {
      e.append(std::string_view(i == 0 ? "'" : i == 1 ? ", '" : " and '"));
      e.append(at[i]);
      e.append('\'');
      if (notes[i].empty()) continue;
      e.append(std::string_view(" with '"));
      e.append(notes[i]);
      e.append('\'');
    }
  }
};

[[noreturn]] inline void refuse_class(std::string_view architecture, std::string_view model_type) {
  three_nearest nearest;
  for (const models::model_class& c : models::classes::table) {
    const std::size_t apart = distance(model_type, c.model_type) + distance(architecture, c.architecture);
    nearest.offer(c.architecture, c.model_type, c.model_type == model_type ? 0 : apart);
  }
  plan_error e("no plan is known for architecture '", architecture, "' with model_type '", model_type,
               "'; the nearest are ");
  nearest.append_to(e);
  e.append(std::string_view(" of the "));
  e.append(std::size(models::classes::table));
  e.append(std::string_view(" such pairs that Hugging Face transformers "));
  e.append(std::string_view(models::transformers_version));
  e.append(std::string_view(" has a plan for; give a plan file, or compose one of shardwise/models/blocks.hpp"));
  raise(e);
}

[[noreturn]] inline void refuse_part(const models::model_class& c, const models::class_part& part,
                                     std::string_view model_type) {
  three_nearest nearest;
  for (const models::base_model& b : models::bases::table) {
    for_words(b.model_types, [&](std::string_view type) { nearest.offer(type, {}, distance(model_type, type)); });
  }
  plan_error e("no plan is known for the ", part.prefix, " of ", c.architecture, ": ", part.section, ".model_type is '",
               model_type, "'; the nearest are ");
  nearest.append_to(e);
  e.append(std::string_view("; give a plan file, or compose one of shardwise/models/blocks.hpp"));
  raise(e);
}

inline const models::model_class& find_class(std::string_view architecture, std::string_view model_type) {
  for (const models::model_class& c : models::classes::table) {
    if (c.model_type == model_type && (architecture.empty() || c.architecture == architecture)) return c;
  }
  refuse_class(architecture, model_type);
}

/// `type_in(section)` is the model type that a section of the config has, "" if it says none.
template <class TypeIn>
const models::family& family_with(const models::model_class& c, const TypeIn& type_in) {
  class_bases bases;
  for (std::size_t i = 0; i < max_class_parts; ++i) {
    const models::class_part& part = c.parts[i];
    if (part.prefix == nullptr) continue;
    std::string_view type = *part.section == '\0' ? std::string_view() : type_in(std::string_view(part.section));
    // A tower without a plan is whole; a model whose text model has none is refused.
    const bool tower = std::string_view(part.section).starts_with("vision_config");
    if (type.empty()) type = part.usual;
    bases.at[i] = find_base(type);
    if (bases.at[i] == nullptr && !tower) refuse_part(c, part, type);
  }
  return compose(c, bases);
}

inline plan_view by_head_of(const models::family& f) {
  if (f.by_head.size() != 0) return f.by_head;
  plan_error e("there is no plan by head for architecture '", f.architecture, "' with model_type '", f.model_type,
               "'; there is one for ");
  for (const models::by_head_class& c : models::by_head::table) {
    e.append(std::string_view(&c == models::by_head::table ? "" : ", "));
    e.append(c.model_type);
  }
  e.append(std::string_view("; take hf_plan, or compose one of shardwise/models/by_head_blocks.hpp"));
  raise(e);
}
inline plan_view best_of(const models::family& f) { return f.by_head.size() != 0 ? f.by_head : f.complete; }

}  // namespace detail

namespace models {

/// The family of a checkpoint, with the usual base models of the class. `architecture` may be empty (an old config):
/// then the model type decides. Throws `plan_error`, with the nearest ones, for a model that has no plan here.
inline const family& family_of(std::string_view architecture, std::string_view model_type) {
  return detail::family_with(detail::find_class(architecture, model_type),
                             [](std::string_view) { return std::string_view(); });
}

/// The family of a config: whatever has `architectures()`, a range of names, and `model_type()`. If it also has
/// `text(section, field)`, an optional text, as `checkpoint::config` does, then the base models are those that the
/// config names: the `model_type` in `text_config` of a LLaVA. Throws `plan_error` as well for a text model that has no
/// plan here.
template <class Config>
const family& family_of(const Config& config) {
  std::string_view architecture;
  for (const auto& name : config.architectures()) {
    if (architecture.empty()) architecture = name;
  }
  if constexpr (requires { config.text(std::string_view(), std::string_view()); }) {
    return detail::family_with(detail::find_class(architecture, config.model_type()), [&](std::string_view section) {
      const auto type = config.text(section, "model_type");
      return type ? std::string_view(*type) : std::string_view();
    });
  } else {
    return family_of(architecture, config.model_type());
  }
}

/// Hugging Face's merged plan, as it is: what it leaves whole, it leaves whole silently.
inline plan_view hf_plan(std::string_view architecture, std::string_view model_type) {
  return family_of(architecture, model_type).hf;
}
template <class Config>
plan_view hf_plan(const Config& config) {
  return family_of(config).hf;
}
/// Hugging Face's merged expert-parallel plan: how experts, and what goes with them, lie when each rank holds whole
/// ones. Empty for a model that has none.
inline plan_view hf_ep_plan(std::string_view architecture, std::string_view model_type) {
  return family_of(architecture, model_type).hf_ep;
}
template <class Config>
plan_view hf_ep_plan(const Config& config) {
  return family_of(config).hf_ep;
}
/// Our own plan, by head: the fewest bytes and collectives that there are. Throws `plan_error` for a model that has
/// none.
inline plan_view by_head_plan(std::string_view architecture, std::string_view model_type) {
  return detail::by_head_of(family_of(architecture, model_type));
}
template <class Config>
plan_view by_head_plan(const Config& config) {
  return detail::by_head_of(family_of(config));
}
/// The best plan that there is for this model, by head where there is such a one; every parameter is spoken of.
inline plan_view auto_plan(std::string_view architecture, std::string_view model_type) {
  return detail::best_of(family_of(architecture, model_type));
}
template <class Config>
plan_view auto_plan(const Config& config) {
  return detail::best_of(family_of(config));
}

}  // namespace models
}  // namespace v0
}  // namespace shardwise
