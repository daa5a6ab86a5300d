#pragma once

#include <algorithm>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <attune/backend/cuda/cudnn/graph.inl.hpp>

namespace attune::cuda::cudnn {

/// What plans are made for: the device of a handle or, without one, a description of a device.
struct Target {
  cudnnHandle_t handle = nullptr;  ///< what plans are executed with
  const Descriptor* properties =
      nullptr;  ///< of CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR; null: the handle's device
  int compute_major = 0;

  /// The handle that graphs and plans are made with; null where a description stands for the device.
  cudnnHandle_t planning_handle() const { return properties ? nullptr : handle; }
};

/// How cuDNN runs a graph: the engine that it advises, compiled.
class Plan {
 public:
  std::size_t workspace_bytes() const { return workspace_bytes_; }
  const Graph& graph() const { return *graph_; }
  const Descriptor& descriptor() const { return plan_; }

  /// Memory and scalars by their tensors' numbers. Scalars lie on the host, and are read before this returns.
  struct Binding {
    std::int64_t uid;
    void* pointer;
  };
  void execute(cudnnHandle_t handle, std::span<const Binding> bindings, void* workspace) const;

 private:
  friend Plan make_plan(const Target&, std::shared_ptr<const Graph>, bool);
  Plan(std::shared_ptr<const Graph> graph, Descriptor configuration, Descriptor plan,
       std::size_t workspace_bytes)
      : graph_(std::move(graph)),
        configuration_(std::move(configuration)),
        plan_(std::move(plan)),
        workspace_bytes_(workspace_bytes) {}

  std::shared_ptr<const Graph> graph_;
  Descriptor configuration_, plan_;  // a configuration serves one plan only
  std::size_t workspace_bytes_;
};

/// Whether the engine of a configuration may add in another order in each run.
inline bool is_nondeterministic(const Api& api, const Descriptor& configuration) {
  std::vector<Descriptor> engine;
  engine.emplace_back(api, CUDNN_BACKEND_ENGINE_DESCRIPTOR, "engine");
  configuration.get_into(CUDNN_ATTR_ENGINECFG_ENGINE, engine);
  const auto notes = engine[0].get_list<cudnnBackendNumericalNote_t>(CUDNN_ATTR_ENGINE_NUMERICAL_NOTE,
                                                                     CUDNN_NUMERICAL_NOTE_TYPE_COUNT);
  return std::find(notes.begin(), notes.end(), CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC) != notes.end();
}

/// The first of the advised configurations that can be compiled, among those that are deterministic when that
/// is asked for. Throws CudnnError when there is none.
inline Plan make_plan(const Target& target, std::shared_ptr<const Graph> graph, bool deterministic) {
  constexpr std::int64_t most_configurations = 16;
  const Api& api = graph->api();
  Descriptor heuristics(api, CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR, "heuristics");
  heuristics.set(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph->descriptor())
      .set(CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_HEUR_MODE_A);
  if (target.properties) heuristics.set(CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, *target.properties);
  heuristics.finalize();
  std::vector<Descriptor> configurations;
  for (std::int64_t i = 0; i < most_configurations; ++i)
    configurations.emplace_back(api, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, "engine configuration");
  const std::int64_t advised = heuristics.get_into(CUDNN_ATTR_ENGINEHEUR_RESULTS, configurations);

  std::int64_t passed_over = 0;
  cudnnStatus_t refused = CUDNN_STATUS_NOT_SUPPORTED;
  for (Descriptor& configuration : std::span(configurations).first(static_cast<std::size_t>(advised))) {
    if (deterministic && is_nondeterministic(api, configuration)) {
      ++passed_over;
      continue;
    }
    Descriptor plan(api, CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR, "plan");
    plan.set(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, configuration);
    if (target.properties)
      plan.set(CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, *target.properties);
    else
      plan.set(CUDNN_ATTR_EXECUTION_PLAN_HANDLE, target.handle);
    const cudnnStatus_t status = plan.try_finalize();
    if (status == CUDNN_STATUS_SUCCESS) {
      const auto bytes = plan.get<std::int64_t>(CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE);
      return Plan(std::move(graph), std::move(configuration), std::move(plan),
                  static_cast<std::size_t>(bytes));
    }
    refused = status;
  }
  throw CudnnError(refused, "cuda: cuDNN: no plan: " + std::to_string(advised) + " engines advised, " +
                                std::to_string(passed_over) +
                                " of them not deterministic, the last refusal: " + api.error_name(refused));
}

inline void Plan::execute(cudnnHandle_t handle, std::span<const Binding> bindings, void* workspace) const {
  std::vector<std::int64_t> uids;
  std::vector<void*> pointers;
  for (const Binding& binding : bindings) {
    uids.push_back(binding.uid);
    pointers.push_back(binding.pointer);
  }
  const Api& api = graph_->api();
  Descriptor pack(api, CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR, "variant pack");
  pack.set(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, std::span<const std::int64_t>(uids))
      .set_pointers(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, pointers)
      .set_pointers(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, {&workspace, 1})
      .finalize();
  api.check(api.execute(handle, plan_.raw(), pack.raw()), "execute the plan");
}

}  // namespace attune::cuda::cudnn
