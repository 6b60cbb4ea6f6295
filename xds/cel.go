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

func (e *expression) method(target *exprv1.Expr, function string, args ...*exprv1.Expr) *exprv1.Expr {
	return &exprv1.Expr{Id: e.next(), ExprKind: &exprv1.Expr_CallExpr{CallExpr: &exprv1.Expr_Call{Target: target, Function: function, Args: args}}}
}

func (e *expression) host() *exprv1.Expr {
	return e.method(e.attribute("request", "host"), "lowerAscii")
}

func (e *expression) serverName() *exprv1.Expr {
	return e.attribute("connection", "requested_server_name")
}

// ownPort is ":" and the port that the client connected to.
func (e *expression) ownPort() *exprv1.Expr {
	return e.call("_+_", e.text(":"), e.call("string", e.attribute("destination", "port")))
}

// hostIsServerName is, with the Host in lower case as Envoy keeps the SNI, and whatever its port:
//
//	host == sni || host.startsWith(sni + ":")
func hostIsServerName() *exprv1.Expr {
	e := &expression{}
	return e.call("_||_",
		e.call("_==_", e.host(), e.serverName()),
		e.method(e.host(), "startsWith", e.call("_+_", e.serverName(), e.text(":"))))
}

// hostIsDestination is, for addresses, which have no SNI (RFC 6066, section 3):
//
//	(host == destination.address || host + ":" + string(destination.port) == destination.address) && (sni == "" || sni == host)
func hostIsDestination() *exprv1.Expr {
	e := &expression{}
	address := func() *exprv1.Expr { return e.attribute("destination", "address") }
	return e.call("_&&_",
		e.call("_||_",
			e.call("_==_", e.host(), address()),
			e.call("_==_", e.call("_+_", e.host(), e.ownPort()), address())),
		e.call("_||_",
			e.call("_==_", e.serverName(), e.text("")),
			e.call("_==_", e.serverName(), e.host())))
}

// hostPortIsDestination is request.host.endsWith(":" + string(destination.port)).
func hostPortIsDestination() *exprv1.Expr {
	e := &expression{}
	return e.method(e.attribute("request", "host"), "endsWith", e.ownPort())
}
