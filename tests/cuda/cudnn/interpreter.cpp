#include "cudnn/interpreter.hpp"

#include <cuda_bf16.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <map>
#include <memory>
#include <vector>

#include <emulation/engine.hpp>

namespace attune::testing {

namespace {

using cuda_emulation::fail;
using Handle = cudnnBackendDescriptor_t;
using Dims = std::array<int64_t, 4>;

// ---- what was recorded of descriptors ----

struct Record {
  cudnnBackendDescriptorType_t type{};
  std::map<int, std::vector<char>> attributes;
};
struct Recorder {
  cuda::cudnn::Api real;
  std::map<Handle, Record> records;
  std::map<Handle, Handle> graph_of_configuration, graph_of_plan;
  cudaStream_t stream = nullptr;
  int executed = 0;
};
Recorder recorder;

std::size_t bytes_of(cudnnBackendAttributeType_t type) {
  switch (type) {
    case CUDNN_TYPE_BOOLEAN:
    case CUDNN_TYPE_CHAR:
      return 1;
    case CUDNN_TYPE_INT64:
    case CUDNN_TYPE_DOUBLE:
    case CUDNN_TYPE_HANDLE:
    case CUDNN_TYPE_VOID_PTR:
    case CUDNN_TYPE_BACKEND_DESCRIPTOR:
      return 8;
    default:
      return 4;
  }
}

template <class T>
std::vector<T> list(Handle d, int attribute) {
  const auto& attributes = recorder.records.at(d).attributes;
  const auto found = attributes.find(attribute);
  if (found == attributes.end()) return {};
  std::vector<T> values(found->second.size() / sizeof(T));
  std::memcpy(values.data(), found->second.data(), values.size() * sizeof(T));
  return values;
}
template <class T>
T get(Handle d, int attribute, T otherwise = {}) {
  const std::vector<char>& bytes = recorder.records.at(d).attributes[attribute];
  if (bytes.size() >= sizeof(T)) std::memcpy(&otherwise, bytes.data(), sizeof(T));
  return otherwise;
}
Handle part(Handle d, int attribute) { return get<Handle>(d, attribute); }

// ---- tensors ----

struct Description {
  int64_t uid;
  Dims size, strides;
  cudnnDataType_t type;
  bool inner, by_value;
  int64_t alignment;
  Handle begins;

  explicit Description(Handle t)
      : uid(get<int64_t>(t, CUDNN_ATTR_TENSOR_UNIQUE_ID)),
        type(get<cudnnDataType_t>(t, CUDNN_ATTR_TENSOR_DATA_TYPE)),
        inner(get<bool>(t, CUDNN_ATTR_TENSOR_IS_VIRTUAL)),
        by_value(get<bool>(t, CUDNN_ATTR_TENSOR_IS_BY_VALUE)),
        alignment(get<int64_t>(t, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT)),
        begins(part(t, CUDNN_ATTR_TENSOR_RAGGED_OFFSET_DESC)) {
    const auto sizes = list<int64_t>(t, CUDNN_ATTR_TENSOR_DIMENSIONS);
    const auto steps = list<int64_t>(t, CUDNN_ATTR_TENSOR_STRIDES);
    if (sizes.size() != 4 || steps.size() != 4) fail("cudnn: a tensor that has not 4 dimensions");
    std::copy(sizes.begin(), sizes.end(), size.begin());
    std::copy(steps.begin(), steps.end(), strides.begin());
  }
};

struct Value {
  Dims size{};
  std::vector<float> data;

  explicit Value(const Dims& dims = {})
      : size(dims), data(static_cast<std::size_t>(dims[0] * dims[1] * dims[2] * dims[3]), NAN) {}
  std::size_t index(const Dims& i) const {
    return static_cast<std::size_t>(((i[0] * size[1] + i[1]) * size[2] + i[2]) * size[3] + i[3]);
  }
  float& operator[](const Dims& i) { return data[index(i)]; }
  float at(const Dims& i) const { return data[index(i)]; }
  /// Dimensions of size 1 are repeated.
  float repeated(const Dims& i) const {
    return at(
        {size[0] == 1 ? 0 : i[0], size[1] == 1 ? 0 : i[1], size[2] == 1 ? 0 : i[2], size[3] == 1 ? 0 : i[3]});
  }
};

template <class F>
void for_each_index(const Dims& size, const F& f) {
  Dims i;
  for (i[0] = 0; i[0] < size[0]; ++i[0])
    for (i[1] = 0; i[1] < size[1]; ++i[1])
      for (i[2] = 0; i[2] < size[2]; ++i[2])
        for (i[3] = 0; i[3] < size[3]; ++i[3]) f(i);
}

float rounded(cudnnDataType_t type, double value) {
  switch (type) {
    case CUDNN_DATA_FLOAT:
      return static_cast<float>(value);
    case CUDNN_DATA_BFLOAT16:
      return __bfloat162float(__float2bfloat16(static_cast<float>(value)));
    case CUDNN_DATA_INT32:
      return static_cast<float>(std::trunc(value));  // small numbers: exact
    case CUDNN_DATA_BOOLEAN:
      return value != 0;
    default:
      fail("cudnn: a type that is not interpreted");
  }
}

// ---- a graph's execution ----

class Interpreter {
 public:
  std::map<int64_t, void*> memory;
  std::map<int64_t, float> scalars;

  void run(Handle operation) {
    switch (recorder.records.at(operation).type) {
      case CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR:
        return matmul(operation);
      case CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR:
        return reduction(operation);
      case CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR:
        return pointwise(operation);
      case CUDNN_BACKEND_OPERATION_RESHAPE_DESCRIPTOR:
        return reshape(operation);
      default:
        fail("cudnn: an operation that is not interpreted");
    }
  }

 private:
  /// Where the tensor's elements lie. Those of a ragged one that belong to the next sequence have no place.
  class Places {
   public:
    Places(const Description& t, const Interpreter& interpreter) : t_(t), base_(interpreter.pointer(t)) {
      if (!t.begins) return;
      const Description table(t.begins);
      if (table.size != Dims{t.size[0] + 1, 1, 1, 1} || table.type != CUDNN_DATA_INT32 || table.begins)
        fail("cudnn: a table of ragged begins is int32 [B + 1, 1, 1, 1]");
      begins_ = static_cast<const int32_t*>(interpreter.pointer(table));
    }
    void* of(const Dims& i) const {
      int64_t within = i[1] * t_.strides[1] + i[2] * t_.strides[2] + i[3] * t_.strides[3], first;
      if (begins_) {
        first = begins_[i[0]];
        if (within >= begins_[i[0] + 1] - first) return nullptr;
      } else {
        first = i[0] * t_.strides[0];
      }
      const std::size_t bytes = t_.type == CUDNN_DATA_BFLOAT16 ? 2 : 4;
      char* place = static_cast<char*>(base_) + static_cast<std::size_t>(first + within) * bytes;
      if (!cuda_emulation::is_device_range(place, bytes))
        fail("cudnn: an element of tensor ", static_cast<std::size_t>(t_.uid), " lies outside of its memory");
      return place;
    }

   private:
    const Description& t_;
    void* base_;
    const int32_t* begins_ = nullptr;
  };

  void* pointer(const Description& t) const {
    const auto found = memory.find(t.uid);
    if (found == memory.end()) fail("cudnn: tensor ", static_cast<std::size_t>(t.uid), " is not bound");
    if (cuda_emulation::device_alignment(found->second) < static_cast<std::size_t>(t.alignment))
      fail("cudnn: tensor ", static_cast<std::size_t>(t.uid), " is less aligned than its description says");
    return found->second;
  }

  const Value& load(Handle handle) {
    const Description t(handle);
    if (const auto known = values_.find(t.uid); known != values_.end()) return known->second;
    Value& x = values_.emplace(t.uid, Value(t.size)).first->second;
    if (t.by_value) {
      if (!scalars.count(t.uid)) fail("cudnn: scalar ", static_cast<std::size_t>(t.uid), " is not bound");
      x.data[0] = scalars.at(t.uid);
      return x;
    }
    if (t.inner) fail("cudnn: inner tensor ", static_cast<std::size_t>(t.uid), " is read before it is made");
    const Places places(t, *this);
    for_each_index(t.size, [&](const Dims& i) {
      const void* p = places.of(i);
      if (!p) return;
      if (t.type == CUDNN_DATA_FLOAT)
        x[i] = *static_cast<const float*>(p);
      else if (t.type == CUDNN_DATA_INT32)
        x[i] = static_cast<float>(*static_cast<const int32_t*>(p));
      else if (t.type == CUDNN_DATA_BFLOAT16)
        x[i] = __bfloat162float(*static_cast<const __nv_bfloat16*>(p));
      else
        fail("cudnn: memory of a type that is not interpreted");
    });
    return x;
  }

  /// Keeps the result, rounded to its type, and writes it when it has memory; `written` says which elements.
  template <class F>
  void store(Handle handle, Value x, const F& written) {
    const Description t(handle);
    if (t.size != x.size)
      fail("cudnn: tensor ", static_cast<std::size_t>(t.uid), " is not of its result's size");
    for (float& value : x.data) value = rounded(t.type, value);
    if (!t.inner) {
      const Places places(t, *this);
      for_each_index(t.size, [&](const Dims& i) {
        void* p = written(i) ? places.of(i) : nullptr;
        if (!p) return;
        if (t.type == CUDNN_DATA_FLOAT)
          *static_cast<float*>(p) = x[i];
        else if (t.type == CUDNN_DATA_BFLOAT16)
          *static_cast<__nv_bfloat16*>(p) = __float2bfloat16(x[i]);
        else
          fail("cudnn: a result of a type that is not interpreted");
      });
    }
    if (!values_.emplace(t.uid, std::move(x)).second)
      fail("cudnn: tensor ", static_cast<std::size_t>(t.uid), " is made twice");
  }
  void store(Handle handle, Value x) {
    store(handle, std::move(x), [](const Dims&) { return true; });
  }

  /// The bound of each entry of the first dimension, or `all`.
  std::vector<int64_t> lengths(Handle handle, int64_t batch, int64_t all) {
    std::vector<int64_t> result(static_cast<std::size_t>(batch), all);
    if (!handle) return result;
    const Value& table = load(handle);
    if (table.size != Dims{batch, 1, 1, 1}) fail("cudnn: lengths that are not [B, 1, 1, 1]");
    for (std::size_t b = 0; b < result.size(); ++b) {
      result[b] = static_cast<int64_t>(table.data[b]);
      if (result[b] < 0 || result[b] > all) fail("cudnn: a sequence is longer than the plan allows");
    }
    return result;
  }

  void matmul(Handle o) {
    const Value& a = load(part(o, CUDNN_ATTR_OPERATION_MATMUL_ADESC));
    const Value& b = load(part(o, CUDNN_ATTR_OPERATION_MATMUL_BDESC));
    if (a.size[0] != b.size[0] || a.size[3] != b.size[2] || a.size[1] % b.size[1] != 0)
      fail("cudnn: operands of a product that do not fit");
    Value c(Dims{a.size[0], a.size[1], a.size[2], b.size[3]});
    const auto rows =
        lengths(part(o, CUDNN_ATTR_OPERATION_MATMUL_GEMM_M_OVERRIDE_DESC), c.size[0], c.size[2]);
    const auto cols =
        lengths(part(o, CUDNN_ATTR_OPERATION_MATMUL_GEMM_N_OVERRIDE_DESC), c.size[0], c.size[3]);
    const auto terms =
        lengths(part(o, CUDNN_ATTR_OPERATION_MATMUL_GEMM_K_OVERRIDE_DESC), c.size[0], a.size[3]);
    const int64_t group = a.size[1] / b.size[1];
    std::vector<double> sums;
    for (int64_t n = 0; n < c.size[0]; ++n) {
      const auto at = static_cast<std::size_t>(n);
      for (int64_t h = 0; h < c.size[1]; ++h)
        for (int64_t i = 0; i < rows[at]; ++i) {
          sums.assign(static_cast<std::size_t>(cols[at]), 0.0);
          for (int64_t k = 0; k < terms[at]; ++k) {
            const double factor = a.at({n, h, i, k});
            const float* row = &b.data[b.index({n, h / group, k, 0})];
            for (std::size_t j = 0; j < sums.size(); ++j) sums[j] += factor * row[j];
          }
          for (int64_t j = 0; j < cols[at]; ++j)
            c[{n, h, i, j}] = static_cast<float>(sums[static_cast<std::size_t>(j)]);
        }
    }
    store(part(o, CUDNN_ATTR_OPERATION_MATMUL_CDESC), std::move(c), [&](const Dims& i) {
      const auto at = static_cast<std::size_t>(i[0]);
      return i[2] < rows[at] && i[3] < cols[at];
    });
  }

  /// Over the last dimension, or over groups of neighbours in the second.
  void reduction(Handle o) {
    const Value& x = load(part(o, CUDNN_ATTR_OPERATION_REDUCTION_XDESC));
    const Handle target = part(o, CUDNN_ATTR_OPERATION_REDUCTION_YDESC);
    const auto mode = get<cudnnReduceTensorOp_t>(part(o, CUDNN_ATTR_OPERATION_REDUCTION_DESC),
                                                 CUDNN_ATTR_REDUCTION_OPERATOR);
    if (mode != CUDNN_REDUCE_TENSOR_MAX && mode != CUDNN_REDUCE_TENSOR_ADD)
      fail("cudnn: a reduction that is not interpreted");
    Value y(Description(target).size);
    if (y.size[0] != x.size[0] || y.size[2] != x.size[2] || x.size[1] % y.size[1] != 0 ||
        (y.size[3] != x.size[3] && y.size[3] != 1))
      fail("cudnn: a reduction of these dimensions is not interpreted");
    const int64_t group = x.size[1] / y.size[1], columns = x.size[3] / y.size[3];
    for_each_index(y.size, [&](const Dims& i) {
      double result = mode == CUDNN_REDUCE_TENSOR_MAX ? -INFINITY : 0.0;
      for (int64_t h = 0; h < group; ++h)
        for (int64_t k = 0; k < columns; ++k) {
          const double value = x.at({i[0], i[1] * group + h, i[2], i[3] * columns + k});
          if (mode == CUDNN_REDUCE_TENSOR_ADD)
            result += value;
          else if (!(value <= result))  // NaN stays
            result = value;
        }
      y[i] = static_cast<float>(result);
    });
    store(target, std::move(y));
  }

  static double apply(cudnnPointwiseMode_t mode, double x, double b, double t) {
    switch (mode) {
      case CUDNN_POINTWISE_ADD:
        return x + b;
      case CUDNN_POINTWISE_SUB:
        return x - b;
      case CUDNN_POINTWISE_MUL:
        return x * b;
      case CUDNN_POINTWISE_DIV:
        return x / b;
      case CUDNN_POINTWISE_EXP:
        return std::exp(x);
      case CUDNN_POINTWISE_LOG:
        return std::log(x);
      case CUDNN_POINTWISE_CMP_GE:
        return x >= b;
      case CUDNN_POINTWISE_CMP_LT:
        return x < b;
      case CUDNN_POINTWISE_LOGICAL_AND:
        return x != 0 && b != 0;
      case CUDNN_POINTWISE_BINARY_SELECT:
        return t != 0 ? x : b;
      default:
        fail("cudnn: a pointwise operation that is not interpreted");
    }
  }

  void pointwise(Handle o) {
    const Handle function = part(o, CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR);
    const auto mode = get<cudnnPointwiseMode_t>(function, CUDNN_ATTR_POINTWISE_MODE);
    const Handle target = part(o, CUDNN_ATTR_OPERATION_POINTWISE_YDESC),
                 second = part(o, CUDNN_ATTR_OPERATION_POINTWISE_BDESC),
                 third = part(o, CUDNN_ATTR_OPERATION_POINTWISE_TDESC);
    const Value& x = load(part(o, CUDNN_ATTR_OPERATION_POINTWISE_XDESC));
    const Value none(Dims{1, 1, 1, 1}), &b = second ? load(second) : none, &t = third ? load(third) : none;
    Value y(x.size);
    if (mode == CUDNN_POINTWISE_GEN_INDEX) {
      const auto axis = static_cast<std::size_t>(get<int64_t>(function, CUDNN_ATTR_POINTWISE_AXIS, -1));
      if (axis > 3) fail("cudnn: an index without an axis");
      for_each_index(y.size, [&](const Dims& i) { y[i] = static_cast<float>(i[axis]); });
    } else {
      for_each_index(y.size, [&](const Dims& i) {
        y[i] = static_cast<float>(apply(mode, x.at(i), b.repeated(i), t.repeated(i)));
      });
    }
    store(target, std::move(y));
  }

  /// Only rows and columns exchanged.
  void reshape(Handle o) {
    const Description from(part(o, CUDNN_ATTR_OPERATION_RESHAPE_XDESC)),
        to(part(o, CUDNN_ATTR_OPERATION_RESHAPE_YDESC));
    const auto exchanged = [](const Dims& d) { return Dims{d[0], d[1], d[3], d[2]}; };
    if (to.size != exchanged(from.size) || to.strides != exchanged(from.strides))
      fail("cudnn: a reshape that is no transposition is not interpreted");
    const Value& x = load(part(o, CUDNN_ATTR_OPERATION_RESHAPE_XDESC));
    Value y(to.size);
    for_each_index(y.size, [&](const Dims& i) { y[i] = x.at(exchanged(i)); });
    store(part(o, CUDNN_ATTR_OPERATION_RESHAPE_YDESC), std::move(y));
  }

  std::map<int64_t, Value> values_;
};

// ---- the functions that take the library's place ----

cudnnStatus_t create(cudnnBackendDescriptorType_t type, Handle* d) {
  const cudnnStatus_t status = recorder.real.create(type, d);
  if (status == CUDNN_STATUS_SUCCESS) recorder.records[*d] = {type, {}};
  return status;
}

cudnnStatus_t destroy(Handle d) {
  recorder.records.erase(d);
  recorder.graph_of_configuration.erase(d);
  recorder.graph_of_plan.erase(d);
  return recorder.real.destroy(d);
}

cudnnStatus_t set_attribute(Handle d, cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
                            int64_t count, const void* values) {
  const cudnnStatus_t status = recorder.real.set_attribute(d, name, type, count, values);
  if (status == CUDNN_STATUS_SUCCESS) {
    const char* bytes = static_cast<const char*>(values);
    recorder.records.at(d).attributes[name].assign(bytes,
                                                   bytes + static_cast<std::size_t>(count) * bytes_of(type));
    if (name == CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG)
      recorder.graph_of_plan[d] = recorder.graph_of_configuration.at(*static_cast<const Handle*>(values));
  }
  return status;
}

/// Configurations do not say which graph they are for, so it is noted when heuristics give them out.
cudnnStatus_t get_attribute(Handle d, cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
                            int64_t requested, int64_t* found, void* values) {
  const cudnnStatus_t status = recorder.real.get_attribute(d, name, type, requested, found, values);
  if (status == CUDNN_STATUS_SUCCESS && name == CUDNN_ATTR_ENGINEHEUR_RESULTS)
    for (int64_t i = 0; i < std::min(requested, *found); ++i)
      recorder.graph_of_configuration[static_cast<Handle*>(values)[i]] =
          part(d, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH);
  return status;
}

cudnnStatus_t set_stream(cudnnHandle_t, cudaStream_t stream) {
  recorder.stream = stream;
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t execute(cudnnHandle_t handle, Handle plan, Handle pack) {
  if (handle != interpreter_handle()) fail("cudnn: executed with another handle");
  const auto uids = list<int64_t>(pack, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS);
  const auto pointers = list<void*>(pack, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS);
  if (uids.size() != pointers.size()) fail("cudnn: not as many pointers as numbers of tensors");
  auto interpreter = std::make_shared<Interpreter>();
  for (std::size_t i = 0; i < uids.size(); ++i) {
    if (cuda_emulation::is_device_range(pointers[i], 1))
      interpreter->memory[uids[i]] = pointers[i];
    else
      interpreter->scalars[uids[i]] = *static_cast<const float*>(pointers[i]);  // by value, hence read now
  }
  int64_t workspace_bytes = 0, found = 0;
  recorder.real.get_attribute(plan, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64, 1, &found,
                              &workspace_bytes);
  void* const workspace = get<void*>(pack, CUDNN_ATTR_VARIANT_PACK_WORKSPACE);
  const auto bytes = static_cast<std::size_t>(workspace_bytes);
  if (bytes > 0 && !cuda_emulation::is_device_range(workspace, bytes))
    fail("cudnn: the workspace is not within a device allocation");
  const auto operations = list<Handle>(recorder.graph_of_plan.at(plan), CUDNN_ATTR_OPERATIONGRAPH_OPS);
  ++recorder.executed;
  cuda_emulation::enqueue(recorder.stream, [=] {
    const cuda_emulation::MemoryWindow window;
    cuda_emulation::poison(workspace, bytes);  // whoever shares it with live data notices
    for (const Handle operation : operations) interpreter->run(operation);
  });
  return CUDNN_STATUS_SUCCESS;
}

}  // namespace

cudnnHandle_t interpreter_handle() {
  static char token;
  return reinterpret_cast<cudnnHandle_t>(&token);
}

int executed_plans() { return recorder.executed; }

cuda::cudnn::Api interpreting_api(const cuda::cudnn::Api& real) {
  recorder.real = real;
  cuda::cudnn::Api api = real;
  api.create = create;
  api.destroy = destroy;
  api.set_attribute = set_attribute;
  api.get_attribute = get_attribute;
  api.set_stream = set_stream;
  api.execute = execute;
  return api;
}

}  // namespace attune::testing
