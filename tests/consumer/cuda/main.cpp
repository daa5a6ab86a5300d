// Trains a linear layer on the best device that is there, and says what became of "cuda".
#include <attune/attune.hpp>

#include <cstdio>
#include <cstring>
#include <string_view>
#include <vector>

template <attune::Backend B>
bool fits(const B& device) {
  attune::Linear<float, B> layer(device, 2, 2);
  layer.weight.assign(std::vector<float>{0, 0, 0, 0});
  layer.bias.assign(std::vector<float>{0, 0});
  attune::AdamW optimizer(attune::ParameterList<B>{attune::list_parameters<B>(layer), {}}, {.lr = 0.1});
  const auto x =
      attune::Tensor<float, B>::from_values(device, {4, 2}, std::vector<float>{0, 1, 0, 2, 1, 0, 2, 0});
  float loss = 1.0f;
  for (int step = 0; step < 20; ++step) {
    optimizer.zero_grad();
    auto output = attune::cross_entropy(layer(x), std::vector<std::int32_t>{0, 0, 1, 1});
    output.backward();
    optimizer.step();
    loss = output.item();
  }
  std::printf("loss %.3f on %s\n", loss, device.name().c_str());
  return loss < 0.3f;
}

// With the argument "no-device" it passes only when the machine's GPU, if any, is hidden from it.
int main(int argc, char** argv) {
  attune::set_log_sink([](attune::LogLevel, std::string_view text) {
    std::printf("attune: %.*s\n", static_cast<int>(text.size()), text.data());
  });
  if (!attune::with_device("auto", [](auto device) { return fits(device); })) return 1;
  try {
    if (!attune::with_device("cuda", [](auto device) { return fits(device); })) return 1;
    return argc > 1 && std::strcmp(argv[1], "no-device") == 0 ? 1 : 0;
  } catch (const attune::DeviceError& error) {
    std::printf("DeviceError: %s\n", error.what());
    return 0;
  }
}
