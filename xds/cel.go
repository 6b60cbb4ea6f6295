package xds

import (
	exprv1 "google.golang.org/genproto/googleapis/api/expr/v1alpha1"
)

// Conditions are parsed CEL, as Envoy's RBAC takes it. expression numbers the nodes, which must be unique.
type expression struct{ last int64 }

func (e *expression) next() int64 {
	e.last++
	return e.last
}

// attribute is object.field of Envoy's attributes.
func (e *expression) attribute(object, name string) *exprv1.Expr {
	return &exprv1.Expr{Id: e.next(), ExprKind: &exprv1.Expr_SelectExpr{SelectExpr: &exprv1.Expr_Select{
		Operand: &exprv1.Expr{Id: e.next(), ExprKind: &exprv1.Expr_IdentExpr{IdentExpr: &exprv1.Expr_Ident{Name: object}}},
		Field:   name,
	}}}
}

func (e *expression) text(s string) *exprv1.Expr {
	return &exprv1.Expr{Id: e.next(), ExprKind: &exprv1.Expr_ConstExpr{ConstExpr: &exprv1.Constant{
		ConstantKind: &exprv1.Constant_StringValue{StringValue: s},
	}}}
}

func (e *expression) call(function string, args ...*exprv1.Expr) *exprv1.Expr {
	return &exprv1.Expr{Id: e.next(), ExprKind: &exprv1.Expr_CallExpr{CallExpr: &exprv1.Expr_Call{Function: function, Args: args}}}
}

func (e *expression) method(target *exprv1.Expr, function string) *exprv1.Expr {
	return &exprv1.Expr{Id: e.next(), ExprKind: &exprv1.Expr_CallExpr{CallExpr: &exprv1.Expr_Call{Target: target, Function: function}}}
}

// hostIsServerName is request.host.lowerAscii() == connection.requested_server_name. Envoy has lowered the SNI, and has
// taken the connection's own port and a trailing dot from the Host.
func hostIsServerName() *exprv1.Expr {
	e := &expression{}
	return e.call("_==_", e.method(e.attribute("request", "host"), "lowerAscii"), e.attribute("connection", "requested_server_name"))
}

// hostIsDestination is, for addresses, which have no SNI (RFC 6066, section 3):
//
//	request.host.lowerAscii() + ":" + string(destination.port) == destination.address &&
//	(connection.requested_server_name == "" || connection.requested_server_name == request.host.lowerAscii())
func hostIsDestination() *exprv1.Expr {
	e := &expression{}
	host := func() *exprv1.Expr { return e.method(e.attribute("request", "host"), "lowerAscii") }
	name := func() *exprv1.Expr { return e.attribute("connection", "requested_server_name") }
	port := e.call("string", e.attribute("destination", "port"))
	authority := e.call("_+_", e.call("_+_", host(), e.text(":")), port)
	return e.call("_&&_",
		e.call("_==_", authority, e.attribute("destination", "address")),
		e.call("_||_", e.call("_==_", name(), e.text("")), e.call("_==_", name(), host())))
}
