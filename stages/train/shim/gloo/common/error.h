// Stands in for gloo's own header of this name, which no package of libtorch ships: as much of it as the
// declaration of c10d's ProcessGroupGloo asks for. Only pointers to these types are ever held.
#pragma once
