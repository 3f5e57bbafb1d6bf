output "vpc_id" {
  description = "Id of the VPC."
  value       = aws_vpc.this.id
}

output "public_subnet_ids" {
  description = "Subnets of the load balancer."
  value       = [for zone in var.availability_zones : aws_subnet.public[zone].id]
}

output "task_subnet_ids" {
  description = "Subnets of the tasks."
  value       = [for zone in var.availability_zones : (var.nat_gateway ? aws_subnet.private : aws_subnet.public)[zone].id]
}

output "data_subnet_ids" {
  description = "Subnets of the database and the cache."
  value       = [for zone in var.availability_zones : aws_subnet.data[zone].id]
}

output "security_group_ids" {
  description = "Security groups by what is in them: alb, app, worker, database, cache, and temporal when it is self-hosted."
  value       = { for group, created in aws_security_group.this : group => created.id }
}

output "ingress" {
  description = "Every rule that lets something in, for tests: group, port, and the address range or the group that it is open to."
  value = concat(
    [{ to = "alb", port = aws_vpc_security_group_ingress_rule.internet.from_port, until = aws_vpc_security_group_ingress_rule.internet.to_port, from = aws_vpc_security_group_ingress_rule.internet.cidr_ipv4 }],
    [for key, rule in aws_vpc_security_group_ingress_rule.between : { to = local.between[key].to, port = rule.from_port, until = rule.to_port, from = local.between[key].from }],
  )
}
