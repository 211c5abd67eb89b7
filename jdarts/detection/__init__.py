"""Detection of objects in images: RetinaNet (Lin et al. 2017, arXiv:1708.02002) on the backbone of a derived network.

* `anchors`: the boxes at every place of the features. * `boxes`: overlaps, coding, matching with objects.
* `losses`: focal loss and L1. * `retinanet`: pyramid, heads, whole network. * `resnet`: a ResNet-50 as backbone.
* `suppression`: from outputs to detections. * `coco`: data in COCO's format. * `metrics`: its official metrics.
* `drawing`: pictures of boxes.

The settings are those of RetinaNet in MMDetection. Boxes are (left, top, right, bottom) in pixels; a pixel has the side
1, so that an image of width W reaches from 0 to W. A training is `jdarts train` with `train.task` detection
(`jdarts.train.tasks.detection`).
"""
