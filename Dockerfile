# depthscope in a container; without further words it runs the demo.
#
#   docker build -t depthscope .                                    CPU
#   docker build -t depthscope:cuda . \
#       --build-arg BASE=nvidia/cuda:12.8.1-base-ubuntu24.04 \
#       --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu128
#
#   docker run --rm -v "$PWD:/data" depthscope                      the demo, in ./depthscope-demo
#   docker run --rm -v "$PWD:/data" depthscope depth video.mp4 --out depth
#   docker run --rm --gpus all -v "$PWD:/data" depthscope:cuda run video.mp4 --out case

ARG BASE=python:3.12-slim-bookworm
FROM ${BASE}

ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu

# A CUDA image has no Python; a Python image has one in /usr/local.
RUN command -v python3 && python3 -m venv --help > /dev/null \
    || (apt-get update && apt-get install -y --no-install-recommends python3 python3-venv \
        && rm -rf /var/lib/apt/lists/*)

RUN python3 -m venv /opt/depthscope
ENV PATH=/opt/depthscope/bin:$PATH PYTHONUNBUFFERED=1

# torch first, from the index of the chosen build, so that changes of the source do not load it again
RUN pip install --no-cache-dir --index-url ${TORCH_INDEX} "torch>=2.5"

COPY pyproject.toml README.md LICENSE /src/
COPY src /src/src
RUN pip install --no-cache-dir "/src[export]" && rm -rf /src

WORKDIR /data
ENTRYPOINT ["depthscope"]
CMD ["demo", "--out", "depthscope-demo"]
