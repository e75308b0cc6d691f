"""The shader that draws Gaussians as quads, and its uniform block.

The projection is EWA splatting as in 3DGS (0.3 px dilation, alpha cutoff at 1/255, slopes of the Jacobian clamped
outside the image), in OpenGL's camera axes. The backend's rasterizer draws the same image.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from gpu.types import Buffer, GPUBatch, GPUShader, GPUShaderCreateInfo, GPUStageInterfaceInfo, GPUVertBuf, GPUVertFormat

import gpu

ROW = 4096
"""Gaussians per row of the textures: three texels each in the data texture, one in the others."""

_TYPES = "struct Look { mat4 projection; vec4 size; vec4 slopes; vec4 highlight; vec4 others; };"
_VERTEX = """
void main()
{
  int n = gl_InstanceID;
  int k = int(texelFetch(order_tex, ivec2(n % 4096, n / 4096), 0).r + 0.5);
  ivec2 at = ivec2((k % 4096) * 3, k / 4096);
  vec4 place = texelFetch(data_tex, at, 0);
  vec4 quat = texelFetch(data_tex, at + ivec2(1, 0), 0);
  vec4 shape = texelFetch(data_tex, at + ivec2(2, 0), 0);
  vec4 tint = vec4(texelFetch(color_tex, ivec2(k % 4096, k / 4096), 0).rgb, shape.w);
  float marked = texelFetch(mark_tex, ivec2(k % 4096, k / 4096), 0).r;
  int object = int(place.w + 0.5);
  mat4 view = mat4(texelFetch(object_tex, ivec2(0, object), 0), texelFetch(object_tex, ivec2(1, object), 0),
                   texelFetch(object_tex, ivec2(2, object), 0), texelFetch(object_tex, ivec2(3, object), 0));
  vec3 c = (view * vec4(place.xyz, 1.0)).xyz;
  vec4 clip = look.projection * vec4(c, 1.0);
  bool ortho = look.projection[3][3] == 1.0;
  color = tint;
  float light = dot(color.rgb, vec3(0.2126, 0.7152, 0.0722)); /* keeps the shading visible */
  vec3 lit = look.highlight.rgb * (0.5 + 0.7 * min(light, 1.0));
  color.rgb = marked > 0.75 ? mix(color.rgb, lit, look.highlight.w) : color.rgb * look.others.x;
  offset = vec2(0.0);
  float reach = tint.a > 1.0 / 255.0 ? sqrt(2.0 * log(max(1.0, look.others.y * min(tint.a, 1.0)))) : 0.0;
  bool hidden = marked > 0.25 && marked < 0.75;
  if (hidden || reach == 0.0 || (!ortho && -c.z < 1e-6) || clip.z < -clip.w) {
    gl_Position = vec4(2.0, 2.0, 2.0, 1.0);
    return;
  }
  if (look.size.w > 0.0) { /* a point of a fixed size */
    gl_Position = vec4(clip.xy / clip.w + corner * look.size.w / look.size.xy, clip.z / clip.w, 1.0);
    return;
  }
  float w = quat.x, x = quat.y, y = quat.z, z = quat.w;
  mat3 turn = mat3(1.0 - 2.0 * (y * y + z * z), 2.0 * (x * y + w * z), 2.0 * (x * z - w * y),
                   2.0 * (x * y - w * z), 1.0 - 2.0 * (x * x + z * z), 2.0 * (y * z + w * x),
                   2.0 * (x * z + w * y), 2.0 * (y * z - w * x), 1.0 - 2.0 * (x * x + y * y));
  vec3 s = shape.xyz * look.size.z;
  mat3 axes = mat3(view) * mat3(turn[0] * s.x, turn[1] * s.y, turn[2] * s.z);
  float d = -c.z;
  vec2 f = 0.5 * look.size.xy * vec2(look.projection[0][0], look.projection[1][1]);
  vec3 ju = vec3(f.x, 0.0, 0.0), jv = vec3(0.0, f.y, 0.0);
  if (!ortho) {
    ju = vec3(f.x, 0.0, f.x * clamp(c.x / d, look.slopes.x, look.slopes.y)) / d;
    jv = vec3(0.0, f.y, f.y * clamp(c.y / d, look.slopes.z, look.slopes.w)) / d;
  }
  vec3 a = ju * axes, b = jv * axes;
  float xx = dot(a, a) + 0.3, yy = dot(b, b) + 0.3, xy = dot(a, b);
  float mid = 0.5 * (xx + yy), apart = sqrt(0.25 * (xx - yy) * (xx - yy) + xy * xy);
  float major = mid + apart, minor = max(mid - apart, 0.05);
  vec2 along = apart < 1e-6 * mid ? vec2(1.0, 0.0) :
               normalize(xx >= yy ? vec2(major - yy, xy) : vec2(xy, major - xx));
  offset = corner * reach;
  vec2 pixels = along * offset.x * sqrt(major) + vec2(-along.y, along.x) * offset.y * sqrt(minor);
  gl_Position = vec4(clip.xy / clip.w + 2.0 * pixels / look.size.xy, clip.z / clip.w, 1.0);
}
"""
_FRAGMENT = """
void main()
{
  if (look.size.w > 0.0) {
    result = vec4(color.rgb, 1.0);
    return;
  }
  float alpha = min(0.99, color.a * exp(-0.5 * dot(offset, offset)));
  if (alpha < 1.0 / 255.0) { discard; }
  result = vec4(color.rgb * alpha, alpha);
}
"""


def make_shader() -> GPUShader:
    """Compile the shader, which needs a GPU context."""
    between = GPUStageInterfaceInfo("saga_splat_between")
    between.smooth("VEC2", "offset")
    between.flat("VEC4", "color")
    info = GPUShaderCreateInfo()
    info.typedef_source(_TYPES)
    info.uniform_buf(0, "Look", "look")
    for slot, name in enumerate(("data_tex", "order_tex", "color_tex", "mark_tex", "object_tex")):
        info.sampler(slot, "FLOAT_2D", name)
    info.vertex_in(0, "VEC2", "corner")
    info.vertex_out(between)
    info.fragment_out(0, "VEC4", "result")
    info.vertex_source(_VERTEX)
    info.fragment_source(_FRAGMENT)
    return gpu.shader.create_from_info(info)


def make_quad() -> GPUBatch:
    """The four corners of every instance."""
    layout = GPUVertFormat()
    layout.attr_add(id="corner", comp_type="F32", len=2, fetch_mode="FLOAT")
    vertices = GPUVertBuf(layout, 4)
    vertices.attr_fill("corner", [(-1, -1), (1, -1), (-1, 1), (1, 1)])
    return GPUBatch(type="TRI_STRIP", buf=vertices)


@dataclass(frozen=True)
class Strokes:
    """Drawing parameters of the Gaussians.

    Attributes:
        stretch: scale factor of every Gaussian.
        point: size of points in pixels; 0 draws Gaussians.
        highlight: color of selected Gaussians, and its share.
        others: brightness of the other Gaussians; 1 leaves them unchanged.
        cut: cutoff of a Gaussian as 1 / alpha: 255 for the exact picture, less for smaller, faster quads.
    """

    stretch: float
    point: float
    highlight: tuple[float, float, float, float]
    others: float
    cut: float = 255.0


def look(projection: np.ndarray, size: tuple[int, int], strokes: Strokes) -> Buffer:
    """The uniform block of a picture.

    Args:
        projection: [4,4], camera to clip space.
        size: width and height in pixels.
        strokes: drawing parameters.
    """
    columns = projection.T.astype(np.float32).ravel()
    edges = np.array([-1.3, 1.3])
    across = (edges + projection[0, 2]) / projection[0, 0]
    upright = (edges + projection[1, 2]) / projection[1, 1]
    rest = [*strokes.highlight, strokes.others, strokes.cut, 0, 0]
    return floats(np.concatenate([columns, [*size, strokes.stretch, strokes.point], across, upright, rest]))


def floats(values: np.ndarray) -> Buffer:
    """A buffer of float32 values for the gpu module, without a copy if they are float32 already."""
    flat = np.ascontiguousarray(values, np.float32).ravel()
    return Buffer("FLOAT", flat.size, flat)
