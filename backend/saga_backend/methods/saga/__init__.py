"""SAGA: scale-gated affinity features (Cen et al., "Segment Any 3D Gaussians"). Equation numbers are the paper's."""
