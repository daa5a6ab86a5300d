#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include <attune/backend/cuda/cudnn/descriptor.inl.hpp>

namespace attune::cuda::cudnn {

using Dims = std::array<std::int64_t, 4>;

inline Dims transposed(const Dims& d) { return {d[0], d[1], d[3], d[2]}; }
/// Strides of a dense tensor.
inline Dims dense(const Dims& d) { return {d[1] * d[2] * d[3], d[2] * d[3], d[3], 1}; }

/// A tensor of a graph. Empty ones stand for operands that are not there.
struct GraphTensor {
  Dims size{}, strides{};
  cudnnDataType_t type = CUDNN_DATA_FLOAT;
  const Descriptor* descriptor = nullptr;
  const Descriptor* begins = nullptr;  ///< of ragged ones

  explicit operator bool() const { return descriptor != nullptr; }
};

/// Builds a cuDNN operation graph and owns all its descriptors. Products and pointwise operations compute in
/// float. Operations run in the order in which they are added.
class Graph {
 public:
  explicit Graph(const Api& api) : api_(&api) {}
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;

  /// A tensor in memory, bound by its number at execution. `begins`, of int32, says in place of the first
  /// stride where each entry of the first dimension begins, in elements.
  GraphTensor tensor(std::int64_t uid, cudnnDataType_t type, const Dims& size, const Dims& strides,
                     const Descriptor* begins = nullptr) {
    return add_tensor("tensor " + std::to_string(uid), uid, type, size, strides, Kind::memory, begins);
  }
  /// A float that is given by value at execution.
  GraphTensor scalar(std::int64_t uid) {
    return add_tensor("scalar " + std::to_string(uid), uid, CUDNN_DATA_FLOAT, {1, 1, 1, 1}, {1, 1, 1, 1},
                      Kind::scalar, nullptr);
  }
  /// A result that exists only inside the graph.
  GraphTensor inner(cudnnDataType_t type, const Dims& size, const Dims& strides,
                    const Descriptor* begins = nullptr) {
    const std::int64_t uid = first_inner_uid + static_cast<std::int64_t>(descriptors_.size());
    return add_tensor("inner tensor " + std::to_string(uid), uid, type, size, strides, Kind::inner, begins);
  }

  /// How many rows, columns and terms of a product count in each entry of the first dimension: tensors [B, 1,
  /// 1, 1] of int32, or nothing for all.
  struct Lengths {
    GraphTensor rows, columns, terms;
  };
  /// c = a b in the last two dimensions. Where b has fewer heads than a, a group of a's heads reads each.
  void matmul(const GraphTensor& a, const GraphTensor& b, const GraphTensor& c, const Lengths& lengths);
  /// y = mode(x, b), or mode(x); for BINARY_SELECT x where t, else b.
  void pointwise(cudnnPointwiseMode_t mode, const GraphTensor& y, const GraphTensor& x,
                 const GraphTensor& b = {}, const GraphTensor& t = {});
  /// y = the index along the axis, for each element of x's shape.
  void index(const GraphTensor& y, const GraphTensor& x, std::int64_t axis);
  /// y = sums or maxima of x over the dimensions in which y is smaller.
  void reduce(cudnnReduceTensorOp_t op, const GraphTensor& y, const GraphTensor& x);
  /// y = x seen with other sizes and strides.
  void reshape(const GraphTensor& y, const GraphTensor& x);

  /// Closes the graph, for the handle's device if there is one. Throws CudnnError when cuDNN does not take
  /// it.
  void finish(cudnnHandle_t handle);
  /// Of the closed graph.
  const Descriptor& descriptor() const { return descriptors_.back(); }
  const Api& api() const { return *api_; }

 private:
  enum class Kind { memory, scalar, inner };
  static constexpr std::int64_t first_inner_uid = 1000;

  Descriptor& add(cudnnBackendDescriptorType_t type, std::string what) {
    return descriptors_.emplace_back(*api_, type, std::move(what));
  }
  void add_operation(Descriptor& operation) {
    operation.finalize();
    operations_.push_back(operation.raw());
  }
  GraphTensor add_tensor(std::string what, std::int64_t uid, cudnnDataType_t type, const Dims& size,
                         const Dims& strides, Kind kind, const Descriptor* begins);
  /// Comparisons and indices are exact in their own types.
  static cudnnDataType_t compute_type(const GraphTensor& y) {
    return y.type == CUDNN_DATA_INT32 || y.type == CUDNN_DATA_BOOLEAN ? y.type : CUDNN_DATA_FLOAT;
  }

  const Api* api_;
  std::deque<Descriptor> descriptors_;  // a deque: tensors point to them
  std::vector<cudnnBackendDescriptor_t> operations_;
};

inline GraphTensor Graph::add_tensor(std::string what, std::int64_t uid, cudnnDataType_t type,
                                     const Dims& size, const Dims& strides, Kind kind,
                                     const Descriptor* begins) {
  Descriptor& tensor = add(CUDNN_BACKEND_TENSOR_DESCRIPTOR, std::move(what));
  tensor.set(CUDNN_ATTR_TENSOR_DATA_TYPE, type)
      .set(CUDNN_ATTR_TENSOR_DIMENSIONS, std::span<const std::int64_t>(size))
      .set(CUDNN_ATTR_TENSOR_STRIDES, std::span<const std::int64_t>(strides))
      .set(CUDNN_ATTR_TENSOR_UNIQUE_ID, uid)
      .set(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, std::int64_t{16})
      .set(CUDNN_ATTR_TENSOR_IS_VIRTUAL, kind == Kind::inner)
      .set(CUDNN_ATTR_TENSOR_IS_BY_VALUE, kind == Kind::scalar);
  if (begins) tensor.set(CUDNN_ATTR_TENSOR_RAGGED_OFFSET_DESC, *begins);
  tensor.finalize();
  return {size, strides, type, &tensor, begins};
}

inline void Graph::matmul(const GraphTensor& a, const GraphTensor& b, const GraphTensor& c,
                          const Lengths& lengths) {
  Descriptor& product = add(CUDNN_BACKEND_MATMUL_DESCRIPTOR, "product");
  product.set(CUDNN_ATTR_MATMUL_COMP_TYPE, CUDNN_DATA_FLOAT).finalize();
  Descriptor& operation = add(CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR, "product operation");
  operation.set(CUDNN_ATTR_OPERATION_MATMUL_ADESC, *a.descriptor)
      .set(CUDNN_ATTR_OPERATION_MATMUL_BDESC, *b.descriptor)
      .set(CUDNN_ATTR_OPERATION_MATMUL_CDESC, *c.descriptor)
      .set(CUDNN_ATTR_OPERATION_MATMUL_DESC, product);
  const auto override_size = [&](cudnnBackendAttributeName_t name, const GraphTensor& length) {
    if (length) operation.set(name, *length.descriptor);
  };
  override_size(CUDNN_ATTR_OPERATION_MATMUL_GEMM_M_OVERRIDE_DESC, lengths.rows);
  override_size(CUDNN_ATTR_OPERATION_MATMUL_GEMM_N_OVERRIDE_DESC, lengths.columns);
  override_size(CUDNN_ATTR_OPERATION_MATMUL_GEMM_K_OVERRIDE_DESC, lengths.terms);
  add_operation(operation);
}

inline void Graph::pointwise(cudnnPointwiseMode_t mode, const GraphTensor& y, const GraphTensor& x,
                             const GraphTensor& b, const GraphTensor& t) {
  const std::string name = "pointwise " + std::to_string(static_cast<int>(mode));
  Descriptor& function = add(CUDNN_BACKEND_POINTWISE_DESCRIPTOR, name);
  function.set(CUDNN_ATTR_POINTWISE_MODE, mode)
      .set(CUDNN_ATTR_POINTWISE_MATH_PREC, compute_type(y))
      .finalize();
  Descriptor& operation = add(CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR, name + " operation");
  operation.set(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, function)
      .set(CUDNN_ATTR_OPERATION_POINTWISE_XDESC, *x.descriptor)
      .set(CUDNN_ATTR_OPERATION_POINTWISE_YDESC, *y.descriptor);
  if (b) operation.set(CUDNN_ATTR_OPERATION_POINTWISE_BDESC, *b.descriptor);
  if (t) operation.set(CUDNN_ATTR_OPERATION_POINTWISE_TDESC, *t.descriptor);
  add_operation(operation);
}

inline void Graph::index(const GraphTensor& y, const GraphTensor& x, std::int64_t axis) {
  Descriptor& function = add(CUDNN_BACKEND_POINTWISE_DESCRIPTOR, "index");
  function.set(CUDNN_ATTR_POINTWISE_MODE, CUDNN_POINTWISE_GEN_INDEX)
      .set(CUDNN_ATTR_POINTWISE_MATH_PREC, compute_type(y))
      .set(CUDNN_ATTR_POINTWISE_AXIS, axis)
      .finalize();
  Descriptor& operation = add(CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR, "index operation");
  operation.set(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, function)
      .set(CUDNN_ATTR_OPERATION_POINTWISE_XDESC, *x.descriptor)
      .set(CUDNN_ATTR_OPERATION_POINTWISE_YDESC, *y.descriptor);
  add_operation(operation);
}

inline void Graph::reduce(cudnnReduceTensorOp_t op, const GraphTensor& y, const GraphTensor& x) {
  Descriptor& reduction = add(CUDNN_BACKEND_REDUCTION_DESCRIPTOR, "reduction");
  reduction.set(CUDNN_ATTR_REDUCTION_OPERATOR, op)
      .set(CUDNN_ATTR_REDUCTION_COMP_TYPE, CUDNN_DATA_FLOAT)
      .finalize();
  Descriptor& operation = add(CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR, "reduction operation");
  operation.set(CUDNN_ATTR_OPERATION_REDUCTION_XDESC, *x.descriptor)
      .set(CUDNN_ATTR_OPERATION_REDUCTION_YDESC, *y.descriptor)
      .set(CUDNN_ATTR_OPERATION_REDUCTION_DESC, reduction);
  add_operation(operation);
}

inline void Graph::reshape(const GraphTensor& y, const GraphTensor& x) {
  Descriptor& operation = add(CUDNN_BACKEND_OPERATION_RESHAPE_DESCRIPTOR, "reshape operation");
  operation.set(CUDNN_ATTR_OPERATION_RESHAPE_XDESC, *x.descriptor)
      .set(CUDNN_ATTR_OPERATION_RESHAPE_YDESC, *y.descriptor);
  add_operation(operation);
}

inline void Graph::finish(cudnnHandle_t handle) {
  Descriptor& graph = add(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR, "graph");
  if (handle) graph.set(CUDNN_ATTR_OPERATIONGRAPH_HANDLE, handle);
  graph.set(CUDNN_ATTR_OPERATIONGRAPH_OPS, std::span<const cudnnBackendDescriptor_t>(operations_)).finalize();
}

}  // namespace attune::cuda::cudnn
