//! BibTeX entries of the papers, as model cards cite them.

pub(crate) const SPLADE: &str = "\
@misc{formal2022distillationhardnegativesampling,
      title={From Distillation to Hard Negative Sampling: Making Sparse Neural IR Models More Effective},
      author={Thibault Formal and Carlos Lassance and Benjamin Piwowarski and Stéphane Clinchant},
      year={2022},
      eprint={2205.04733},
      archivePrefix={arXiv},
      primaryClass={cs.IR},
      url={https://arxiv.org/abs/2205.04733},
}";

pub(crate) const GRAD_CACHE: &str = "\
@misc{gao2021scaling,
    title={Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup},
    author={Luyu Gao and Yunyi Zhang and Jiawei Han and Jamie Callan},
    year={2021},
    eprint={2101.06983},
    archivePrefix={arXiv},
    primaryClass={cs.LG}
}";

pub(crate) const FLOPS: &str = "\
@article{paria2020minimizing,
    title={Minimizing flops to learn efficient sparse representations},
    author={Paria, Biswajit and Yeh, Chih-Kuan and Yen, Ian EH and Xu, Ning and Ravikumar, Pradeep and P{'o}czos, Barnab{'a}s},
    journal={arXiv preprint arXiv:2004.05665},
    year={2020}
}";

pub(crate) const SNRM: &str = "\
@inproceedings{zamani2018snrm,
    title={From Neural Re-Ranking to Neural Ranking: Learning a Sparse Representation for Inverted Indexing},
    author={Hamed Zamani and Mostafa Dehghani and W. Bruce Croft and Erik Learned-Miller and Jaap Kamps},
    booktitle={Proceedings of the 27th ACM International Conference on Information and Knowledge Management},
    year={2018},
    doi={10.1145/3269206.3271800}
}";

pub(crate) const L0_MASK: &str = "\
@misc{shen2025exploringl0sparsification,
    title={Exploring $\\ell_0$ Sparsification for Inference-free Sparse Retrievers},
    author={Xinjie Shen and Zhichao Geng and Yang Yang},
    year={2025},
    eprint={2504.14839},
    archivePrefix={arXiv},
    primaryClass={cs.IR},
    url={https://arxiv.org/abs/2504.14839},
}";

pub(crate) const DF_FLOPS: &str = "\
@misc{porco2025alternativeflops,
    title={An Alternative to FLOPS Regularization to Effectively Productionize SPLADE-Doc},
    author={Aldo Porco and Dhruv Mehra and Igor Malioutov and Karthik Radhakrishnan and Moniba Keymanesh and Daniel Preoţiuc-Pietro and Sean MacAvaney and Pengxiang Cheng},
    year={2025},
    eprint={2505.15070},
    archivePrefix={arXiv},
    primaryClass={cs.IR},
    url={https://arxiv.org/abs/2505.15070},
}";

pub(crate) const CSR: &str = "\
@misc{wen2025matryoshkarevisitingsparsecoding,
      title={Beyond Matryoshka: Revisiting Sparse Coding for Adaptive Representation},
      author={Tiansheng Wen and Yifei Wang and Zequn Zeng and Zhong Peng and Yudi Su and Xinyang Liu and Bo Chen and Hongwei Liu and Stefanie Jegelka and Chenyu You},
      year={2025},
      eprint={2503.01776},
      archivePrefix={arXiv},
      primaryClass={cs.LG},
      url={https://arxiv.org/abs/2503.01776},
}";

pub(crate) const CPC: &str = "\
@misc{oord2019representationlearningcontrastivepredictive,
      title={Representation Learning with Contrastive Predictive Coding},
      author={Aaron van den Oord and Yazhe Li and Oriol Vinyals},
      year={2019},
      eprint={1807.03748},
      archivePrefix={arXiv},
      primaryClass={cs.LG},
      url={https://arxiv.org/abs/1807.03748},
}";

pub(crate) const GTE: &str = "\
@misc{li2023generaltextembeddingsmultistage,
      title={Towards General Text Embeddings with Multi-stage Contrastive Learning},
      author={Zehan Li and Xin Zhang and Yanzhao Zhang and Dingkun Long and Pengjun Xie and Meishan Zhang},
      year={2023},
      eprint={2308.03281},
      archivePrefix={arXiv},
      primaryClass={cs.CL},
      url={https://arxiv.org/abs/2308.03281},
}";

pub(crate) const JINA: &str = "\
@misc{günther2024jinaembeddings28192token,
      title={Jina Embeddings 2: 8192-Token General-Purpose Text Embeddings for Long Documents},
      author={Michael Günther and Jackmin Ong and Isabelle Mohr and Alaeddine Abdessalem and Tanguy Abel and Mohammad Kalim Akram and Susana Guzman and Georgios Mastrapas and Saba Sturua and Bo Wang and Maximilian Werk and Nan Wang and Han Xiao},
      year={2024},
      eprint={2310.19923},
      archivePrefix={arXiv},
      primaryClass={cs.CL},
      url={https://arxiv.org/abs/2310.19923},
}";

pub(crate) const SIGMOID: &str = "\
@misc{zhai2023sigmoid,
    title={Sigmoid Loss for Language Image Pre-Training},
    author={Xiaohua Zhai and Basil Mustafa and Alexander Kolesnikov and Lucas Beyer},
    year={2023},
    eprint={2303.15343},
    archivePrefix={arXiv},
    primaryClass={cs.CV},
    url={https://arxiv.org/abs/2303.15343},
}";

pub(crate) const MARGIN_MSE: &str = "\
@misc{hofstätter2021improving,
    title={Improving Efficient Neural Ranking Models with Cross-Architecture Knowledge Distillation},
    author={Sebastian Hofstätter and Sophia Althammer and Michael Schröder and Mete Sertkan and Allan Hanbury},
    year={2021},
    eprint={2010.02666},
    archivePrefix={arXiv},
    primaryClass={cs.IR}
}";

pub(crate) const DISTILL_KL_DIV: &str = "\
@misc{lin2020distillingdenserepresentationsranking,
    title={Distilling Dense Representations for Ranking using Tightly-Coupled Teachers},
    author={Sheng-Chieh Lin and Jheng-Hong Yang and Jimmy Lin},
    year={2020},
    eprint={2010.11386},
    archivePrefix={arXiv},
    primaryClass={cs.IR},
    url={https://arxiv.org/abs/2010.11386},
}";

pub(crate) const TRIPLET: &str = "\
@misc{hermans2017defense,
    title={In Defense of the Triplet Loss for Person Re-Identification},
    author={Alexander Hermans and Lucas Beyer and Bastian Leibe},
    year={2017},
    eprint={1703.07737},
    archivePrefix={arXiv},
    primaryClass={cs.CV}
}";

pub(crate) const CO_SENT: &str = "\
@article{10531646,
    author={Huang, Xiang and Peng, Hao and Zou, Dongcheng and Liu, Zhiwei and Li, Jianxin and Liu, Kay and Wu, Jia and Su, Jianlin and Yu, Philip S.},
    journal={IEEE/ACM Transactions on Audio, Speech, and Language Processing},
    title={CoSENT: Consistent Sentence Embedding via Similarity Ranking},
    year={2024},
    doi={10.1109/TASLP.2024.3402087}
}";

pub(crate) const MSE: &str = "\
@inproceedings{reimers-2020-multilingual-sentence-bert,
    title = \"Making Monolingual Sentence Embeddings Multilingual using Knowledge Distillation\",
    author = \"Reimers, Nils and Gurevych, Iryna\",
    booktitle = \"Proceedings of the 2020 Conference on Empirical Methods in Natural Language Processing\",
    month = \"11\",
    year = \"2020\",
    publisher = \"Association for Computational Linguistics\",
    url = \"https://arxiv.org/abs/2004.09813\",
}";
