#pragma once

#include <cuda_runtime_api.h>

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include <attune/backend/cuda/check.hpp>
#include <attune/backend/cuda/context.hpp>
#include <attune/backend/cuda/cudnn/attention_graph.inl.hpp>
#include <attune/backend/cuda/cudnn/plan.inl.hpp>

namespace attune::cuda::cudnn {

/// The attention plans of one device.
class AttentionPlans {
 public:
  /// `properties`: a description of the device to plan for, in place of the handle's.
  AttentionPlans(const Api& api, Target target, std::optional<Descriptor> properties = {})
      : api_(&api), target_(target), properties_(std::move(properties)) {
    if (properties_) target_.properties = &*properties_;
  }
  AttentionPlans(const AttentionPlans&) = delete;
  AttentionPlans& operator=(const AttentionPlans&) = delete;

  /// The problem's plan, made when it is asked for first; null when there is none.
  const Plan* find(const AttentionProblem& problem) {
    const auto known = plans_.find(problem);
    if (known != plans_.end()) return known->second ? &*known->second : nullptr;
    std::optional<Plan>& plan = plans_[problem];
    try {
      // Shares the graph with what else was built for the problem.
      const auto built = std::make_shared<const AttentionGraph>(*api_, target_.planning_handle(), problem);
      plan.emplace(
          make_plan(target_, std::shared_ptr<const Graph>(built, &built->graph()), problem.backward));
    } catch (const CudnnError& error) {
      why_not_ = error.what();
    }
    return plan ? &*plan : nullptr;
  }
  /// What kept the last plan that could not be made.
  const std::string& why_not() const { return why_not_; }
  std::size_t size() const { return plans_.size(); }

  const Api& api() const { return *api_; }
  const Target& target() const { return target_; }
  std::mutex& mutex() { return mutex_; }

 private:
  const Api* api_;
  Target target_;
  std::optional<Descriptor> properties_;
  std::map<AttentionProblem, std::optional<Plan>> plans_;
  std::string why_not_;
  std::mutex mutex_;
};

/// The plans that attention on a device uses: those of the installed library, made at the first call, unless
/// others were put in their place. Null when there is no library that works.
class PlansOfDevices {
 public:
  static PlansOfDevices& instance() {
    static PlansOfDevices& all = *new PlansOfDevices;  // never destroyed: cuDNN may be gone before
    return all;
  }

  AttentionPlans* of(const Context& context) {
    const std::lock_guard lock(mutex_);
    const auto known = plans_.find(context.ordinal());
    if (known != plans_.end()) return known->second.get();
    auto& plans = plans_[context.ordinal()];
    try {
      select_device(context.ordinal());
      Target target;
      const Api& api = installed_api();
      api.check(api.create_handle(&target.handle), "cudnnCreate");
      cudaDeviceProp properties;
      cuda::check(cudaGetDeviceProperties(&properties, context.ordinal()), "cudaGetDeviceProperties");
      target.compute_major = properties.major;
      plans = std::make_unique<AttentionPlans>(api, target);
    } catch (const DeviceError& error) {
      why_not_ = error.what();
    }
    return plans.get();
  }
  void replace(int ordinal, std::unique_ptr<AttentionPlans> plans) {
    const std::lock_guard lock(mutex_);
    plans_[ordinal] = std::move(plans);
  }
  /// The next call looks for the installed library again.
  void forget(int ordinal) {
    const std::lock_guard lock(mutex_);
    plans_.erase(ordinal);
  }
  /// What keeps the devices without plans from having some.
  std::string why_not() {
    const std::lock_guard lock(mutex_);
    return why_not_;
  }

 private:
  std::mutex mutex_;
  std::map<int, std::unique_ptr<AttentionPlans>> plans_;
  std::string why_not_;
};

}  // namespace attune::cuda::cudnn
