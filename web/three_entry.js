// What report and viewer use of three.js; everything else is left out of the bundle.
/*! three.js r187, MIT licence, Copyright (c) 2010-2026 three.js authors (threejs.org); see LICENSES/three.txt */
export {
  BufferAttribute,
  BufferGeometry,
  DoubleSide,
  InstancedMesh,
  LineBasicMaterial,
  LineSegments,
  Matrix3,
  Matrix4,
  Mesh,
  MeshBasicMaterial,
  PerspectiveCamera,
  Raycaster,
  Scene,
  ShaderMaterial,
  SphereGeometry,
  Vector2,
  Vector3,
  WebGLRenderer,
} from "three";
