# The examples, installed with the documentation.
pipelinesdir = $(docdir)/pipelines
dist_pipelines_DATA = \
	%D%/circuit-breaker.yaml \
	%D%/etl.yaml \
	%D%/fan-out.yaml \
	%D%/orders.yaml \
	%D%/peak-shaving.yaml \
	%D%/quickstart.yaml \
	%D%/request.yaml \
	%D%/retry.yaml \
	%D%/versioning.yaml \
	%D%/weblog.yaml \
	%D%/work-queue.yaml
