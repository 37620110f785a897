"""From features to numbers: what models say of a video, fused, cut into detections, scored."""
