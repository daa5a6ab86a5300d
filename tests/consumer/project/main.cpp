#include <attune/attune.hpp>

#include <cstdio>
#include <vector>

double loss_in_other_unit(const attune::Linear<float, attune::Cpu>& layer, const attune::Cpu& device);

// Fits a linear layer to four points with two classes: most of the library's layers in a few milliseconds.
int main() {
  attune::set_num_threads(2);
  return attune::with_device("cpu", [](auto device) {
    using B = decltype(device);
    attune::Linear<float, B> layer(device, 2, 2);
    layer.weight.assign(std::vector<float>{0, 0, 0, 0});
    layer.bias.assign(std::vector<float>{0, 0});
    attune::AdamW optimizer(attune::ParameterList<B>{attune::list_parameters<B>(layer), {}}, {.lr = 0.1});
    const double before = loss_in_other_unit(layer, device);
    const auto x = attune::Tensor<float, B>::from_values(device, {4, 2}, std::vector<float>{0, 1, 0, 2, 1, 0, 2, 0});
    for (int step = 0; step < 20; ++step) {
      optimizer.zero_grad();
      attune::cross_entropy(layer(x), std::vector<std::int32_t>{0, 0, 1, 1}).backward();
      optimizer.step();
    }
    const double after = loss_in_other_unit(layer, device);
    std::printf("attune %s: loss %.3f, then %.3f\n", ATTUNE_VERSION, before, after);
    return before > 0.69 && after < 0.2 ? 0 : 1;
  });
}
