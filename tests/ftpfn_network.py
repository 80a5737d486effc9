"""Run by the interpreter that has ifBO: a network of FT-PFN's form, its weights drawn at random.

    python ftpfn_network.py FOLDER SEED STEPS

After ``STEPS`` steps of training it knows one function of five hyperparameters, the sum of
``(x - 0.67)^2`` on the unit cube, which goes from 0 to 2.5.
"""

import sys
from pathlib import Path

import torch
from ifbo import encoders, positional_encodings
from ifbo.bar_distribution import BarDistribution
from ifbo.download import FILENAME, WEIGHTS_FINAL_NAME
from ifbo.priors.ftpfn_prior import get_encoder
from ifbo.transformer import TransformerModel

WIDTH, BARS, BATCH, LENGTH = 32, 25, 8, 60
folder = Path(sys.argv[1]) / ".model"
folder.mkdir()
torch.set_num_threads(1)
torch.manual_seed(int(sys.argv[2]))
model = TransformerModel(
    get_encoder()(12, WIDTH),
    WIDTH,
    nhead=2,
    nhid=WIDTH,
    nlayers=2,
    y_encoder=encoders.Linear(1, WIDTH),
    pos_encoder=positional_encodings.NoPositionalEncoding(WIDTH, 1),
    decoder_dict={"standard": (None, BARS)},
)
model.criterion = BarDistribution(torch.linspace(0.0, 1.0, BARS + 1))
steps = int(sys.argv[3])
if not steps:
    for weights in model.parameters():
        torch.nn.init.normal_(weights, std=0.5)
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
for _ in range(steps):
    x = torch.rand(LENGTH, BATCH, 5)
    epoch = torch.rand(LENGTH, BATCH, 1)
    number = torch.randint(0, LENGTH, (LENGTH, BATCH, 1)).float()
    y = 1.0 - ((x - 0.67) ** 2).sum(-1) / 2.5
    told = int(torch.randint(5, LENGTH - 5, ()))
    logits = model((torch.cat([number, epoch, x], -1), y), single_eval_pos=told)
    loss = model.criterion(logits, y[told:]).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
torch.save(model, folder / WEIGHTS_FINAL_NAME("0.0.1"))
(folder / FILENAME("0.0.1")).touch()  # ifBO looks whether its archive is there, never into it
