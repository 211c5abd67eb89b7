"""PyTorch networks with the parameter names of the DARTS code, NAS-Bench-201's and ProxylessNAS', as oracles.

Run as a program, without jdarts: `torch_networks.py KIND ARCHITECTURE WEIGHTS IMAGES OUTPUT` loads a `state_dict` and
writes logits. ARCHITECTURE is JSON.
"""

import json
import sys
from types import SimpleNamespace

import numpy as np
import torch
from torch import nn


def conv(inputs, outputs, kernel, stride=1, padding=0, groups=1, dilation=1):
    return nn.Conv2d(inputs, outputs, kernel, stride, padding, dilation, groups, bias=False)


class Op(nn.Module):
    def __init__(self, *layers):
        super().__init__()
        self.op = nn.Sequential(*layers)

    def forward(self, x):
        return self.op(x)


class FactorizedReduce(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.conv_1, self.conv_2 = conv(inputs, outputs // 2, 1, 2), conv(inputs, outputs // 2, 1, 2)
        self.bn = nn.BatchNorm2d(outputs)

    def forward(self, x):
        x = torch.relu(x)
        return self.bn(torch.cat([self.conv_1(x), self.conv_2(x[:, :, 1:, 1:])], 1))


class Zero(nn.Module):
    def __init__(self, stride):
        super().__init__()
        self.stride = stride

    def forward(self, x):
        return 0 * x[:, :, :: self.stride, :: self.stride]


def relu_conv_bn(inputs, outputs, kernel=1, stride=1):
    return Op(nn.ReLU(), conv(inputs, outputs, kernel, stride, kernel // 2), nn.BatchNorm2d(outputs))


def separable(c, kernel, stride, dilation=1):
    padding = dilation * (kernel // 2)
    return nn.ReLU(), conv(c, c, kernel, stride, padding, c, dilation), conv(c, c, 1), nn.BatchNorm2d(c)


def darts_op(name, c, stride):
    match name.split("_"):
        case ["sep", "conv", size]:
            return Op(*separable(c, int(size[0]), stride), *separable(c, int(size[0]), 1))
        case ["dil", "conv", size]:
            return Op(*separable(c, int(size[0]), stride, 2))
        case ["conv", "7x1", "1x7"]:
            return nn.Sequential(
                nn.ReLU(),
                conv(c, c, (1, 7), (1, stride), (0, 3)),
                conv(c, c, (7, 1), (stride, 1), (3, 0)),
                nn.BatchNorm2d(c),
            )
        case ["max", "pool", "3x3"]:
            return nn.MaxPool2d(3, stride, 1)
        case ["avg", "pool", "3x3"]:
            return nn.AvgPool2d(3, stride, 1, count_include_pad=False)
        case ["skip", "connect"]:
            return nn.Identity() if stride == 1 else FactorizedReduce(c, c)
    return Zero(stride)


class Cell(nn.Module):
    def __init__(self, cell, before_last, last, c, reduction, after_reduction):
        super().__init__()
        self.preprocess0 = (FactorizedReduce if after_reduction else relu_conv_bn)(before_last, c)
        self.preprocess1 = relu_conv_bn(last, c)
        self.edges, self.concat = cell["edges"], cell["concat"]
        strides = [2 if reduction and source < 2 else 1 for _, source in self.edges]
        self._ops = nn.ModuleList(darts_op(op, c, s) for (op, _), s in zip(self.edges, strides, strict=True))

    def forward(self, s0, s1):
        states = [self.preprocess0(s0), self.preprocess1(s1)]
        for first in range(0, len(self.edges), 2):
            states.append(sum(self._ops[k](states[self.edges[k][1]]) for k in (first, first + 1)))
        return torch.cat([states[i] for i in self.concat], 1)


class DartsNetwork(nn.Module):
    def __init__(self, a):
        super().__init__()
        c, half, self.imagenet = a.channels, a.channels // 2, a.imagenet
        if a.imagenet:
            first = conv(a.colours, half, 3, 2, 1), nn.BatchNorm2d(half), nn.ReLU()
            self.stem0 = nn.Sequential(*first, conv(half, c, 3, 2, 1), nn.BatchNorm2d(c))
            self.stem1 = nn.Sequential(nn.ReLU(), conv(c, c, 3, 2, 1), nn.BatchNorm2d(c))
            before_last = last = c
        else:
            before_last = last = 3 * c
            self.stem = nn.Sequential(conv(a.colours, last, 3, 1, 1), nn.BatchNorm2d(last))
        reductions, self.cells = (a.cells // 3, 2 * a.cells // 3), nn.ModuleList()
        for i in range(a.cells):
            reduction = i in reductions
            c *= 2 if reduction else 1
            cell = a.reduce if reduction else a.normal
            after = i - 1 in reductions or (i == 0 and a.imagenet)
            self.cells.append(Cell(cell, before_last, last, c, reduction, after))
            before_last, last = last, len(cell["concat"]) * c
        self.classifier = nn.Linear(last, a.classes)

    def forward(self, x):
        s0 = self.stem0(x) if self.imagenet else self.stem(x)
        s1 = self.stem1(s0) if self.imagenet else s0
        for cell in self.cells:
            s0, s1 = s1, cell(s0, s1)
        return self.classifier(s1.mean((2, 3)))


class BenchCell(nn.Module):
    def __init__(self, nodes, c):
        super().__init__()
        self.nodes, self.layers = nodes, nn.ModuleList()
        for op, _ in (edge for node in nodes for edge in node):
            if op.startswith("nor_conv"):
                self.layers.append(relu_conv_bn(c, c, int(op[-1])))
            else:
                self.layers.append(darts_op(op, c, 1))

    def forward(self, x):
        states, k = [x], 0
        for node in self.nodes:
            states.append(sum(self.layers[k + i](states[source]) for i, (_, source) in enumerate(node)))
            k += len(node)
        return states[-1]


class BasicBlock(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.conv_a, self.conv_b = relu_conv_bn(c, 2 * c, 3, 2), relu_conv_bn(2 * c, 2 * c, 3)
        self.downsample = nn.Sequential(nn.AvgPool2d(2, 2), conv(c, 2 * c, 1))

    def forward(self, x):
        return self.downsample(x) + self.conv_b(self.conv_a(x))


class BenchNetwork(nn.Module):
    def __init__(self, a):
        super().__init__()
        c = a.channels
        self.stem = nn.Sequential(conv(a.colours, c, 3, 1, 1), nn.BatchNorm2d(c))
        self.cells = nn.ModuleList()
        for stage in range(3):
            if stage:
                self.cells.append(BasicBlock(c))
                c *= 2
            self.cells.extend(BenchCell(a.nodes, c) for _ in range(a.cells))
        self.lastact = nn.Sequential(nn.BatchNorm2d(c), nn.ReLU())
        self.classifier = nn.Linear(c, a.classes)

    def forward(self, x):
        x = self.stem(x)
        for cell in self.cells:
            x = cell(x)
        return self.classifier(self.lastact(x).mean((2, 3)))


class ConvBn(nn.Module):
    def __init__(self, inputs, outputs, kernel, stride, eps, groups=1, act=True):
        super().__init__()
        self.conv = conv(inputs, outputs, kernel, stride, kernel // 2, groups)
        self.bn, self.act = nn.BatchNorm2d(outputs, eps), act

    def forward(self, x):
        x = self.bn(self.conv(x))
        return nn.functional.relu6(x) if self.act else x


class Inverted(nn.Module):
    def __init__(self, inputs, width, expansion, kernel, stride, eps):
        super().__init__()
        inner, self.skip, self.mobile_inverted_conv = inputs * expansion, stride == 1 and inputs == width, nn.Module()
        parts = self.mobile_inverted_conv
        if expansion > 1:
            parts.inverted_bottleneck = ConvBn(inputs, inner, 1, 1, eps)
        parts.depth_conv = ConvBn(inner, inner, kernel, stride, eps, groups=inner)
        parts.point_linear = ConvBn(inner, width, 1, 1, eps, act=False)

    def forward(self, x):
        y = x
        for part in self.mobile_inverted_conv.children():
            y = part(y)
        return y + x if self.skip else y


class ProxylessNetwork(nn.Module):
    """`layers` are [width, kernel, stride, expansion], of the first and last layer without expansion."""

    def __init__(self, a):
        super().__init__()
        (width, kernel, stride, _), *inner, (mixed, _, _, _) = a.layers
        self.first_conv, self.blocks = ConvBn(a.colours, width, kernel, stride, 1e-3), nn.ModuleList()
        for out, kernel, stride, expansion in inner:
            self.blocks.append(Inverted(width, out, expansion, kernel, stride, 1e-3))
            width = out
        self.feature_mix_layer, self.classifier = ConvBn(width, mixed, 1, 1, 1e-3), nn.Module()
        self.classifier.linear = nn.Linear(mixed, a.classes)

    def forward(self, x):
        x = self.first_conv(x)
        for block in self.blocks:
            x = block(x)
        return self.classifier.linear(self.feature_mix_layer(x).mean((2, 3)))


class LanguageNetwork(nn.Module):
    """`nodes` are [activation, source]; the state begins with zeros."""

    def __init__(self, a):
        super().__init__()
        self.nodes, self.concat, cell = a.nodes, a.concat, nn.Module()
        self.encoder, self.decoder = nn.Embedding(a.words, a.units), nn.Linear(a.units, a.words)
        cell._W0 = nn.Parameter(torch.zeros(2 * a.units, 2 * a.units))
        cell._Ws = nn.ParameterList(torch.zeros(a.units, 2 * a.units) for _ in a.nodes)
        self.rnns = nn.ModuleList([cell])

    def forward(self, tokens):
        functions = {"tanh": torch.tanh, "relu": torch.relu, "sigmoid": torch.sigmoid, "identity": lambda x: x}
        cell, h, states = self.rnns[0], torch.zeros(tokens.shape[1], self.encoder.embedding_dim), []
        for x in self.encoder(tokens.long()):
            c, g = (torch.cat([x, h], -1) @ cell._W0).chunk(2, -1)
            s = [h + c.sigmoid() * (g.tanh() - h)]
            for W, (name, source) in zip(cell._Ws, self.nodes, strict=True):
                c, g = (s[source] @ W).chunk(2, -1)
                s.append(s[source] + c.sigmoid() * (functions[name](g) - s[source]))
            h = torch.stack([s[i] for i in self.concat]).mean(0)
            states.append(h)
        return self.decoder(torch.stack(states))


KINDS = {"darts": DartsNetwork, "bench": BenchNetwork, "proxyless": ProxylessNetwork, "language": LanguageNetwork}


def main(kind, architecture, weights, inputs, output):
    network = KINDS[kind](SimpleNamespace(**json.loads(architecture))).eval()
    if weights.endswith(".pth"):
        state = torch.load(weights, weights_only=True)
    else:
        state = {name: torch.from_numpy(array) for name, array in np.load(weights).items()}
    network.load_state_dict(state, strict=True)
    given = torch.from_numpy(np.load(inputs))
    with torch.no_grad():
        np.save(output, network(given if kind == "language" else given.permute(0, 3, 1, 2)).numpy())
    assert not any(name.split(".")[0] == "jdarts" for name in sys.modules)


if __name__ == "__main__":
    main(*sys.argv[1:])
