// Stands in for gloo's own header of this name, which no package of libtorch ships: as much of it as the
// declaration of c10d's ProcessGroupGloo asks for. Only pointers to these types are ever held.
#pragma once

namespace gloo::transport {
class Device {
public:
  virtual ~Device() = default;
};
class UnboundBuffer {
public:
  virtual ~UnboundBuffer() = default;
};
} // namespace gloo::transport
