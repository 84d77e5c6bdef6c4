package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/traits"
	jsonpatch "github.com/evanphx/json-patch/v5"
	"google.golang.org/protobuf/types/known/structpb"
	requestv1 "k8s.io/api/admission/v1"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/admission"
	plugincel "k8s.io/apiserver/pkg/admission/plugin/cel"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"k8s.io/apiserver/pkg/cel/environment"
	"k8s.io/apiserver/pkg/cel/mutation"
)

// expression is one of a policy, with the types that it may have.
type expression struct {
	text  string
	types []*cel.Type
}

func (e *expression) GetExpression() string    { return e.text }
func (e *expression) ReturnTypes() []*cel.Type { return e.types }

// policy is a validating or a mutating one with its bindings, compiled.
type policy struct {
	name        string
	constraints *admissionv1.MatchResources
	bindings    []*admissionv1.MatchResources
	conditions  plugincel.ConditionEvaluator
	validations plugincel.ConditionEvaluator
	messages    plugincel.ConditionEvaluator
	texts       []string
	mutations   []plugincel.MutatingEvaluator
	met         bool
}

// Policies are those of the manifests.
type Policies struct{ validating, mutating []*policy }

func (p *Policies) unmet() []string {
	var names []string
	for _, one := range slices.Concat(p.validating, p.mutating) {
		if !one.met {
			names = append(names, one.name)
		}
	}
	return names
}

func readPolicies(from io.Reader) (*Policies, error) {
	policies := &Policies{}
	bindings := map[string][]*admissionv1.MatchResources{}
	err := documents(from, func(kind string, text []byte) error {
		switch kind {
		case "ValidatingAdmissionPolicy":
			return policies.addValidating(text)
		case "MutatingAdmissionPolicy":
			return policies.addMutating(text)
		case "ValidatingAdmissionPolicyBinding":
			var binding admissionv1.ValidatingAdmissionPolicyBinding
			if err := json.Unmarshal(text, &binding); err != nil {
				return err
			}
			if !slices.Contains(binding.Spec.ValidationActions, admissionv1.Deny) {
				return fmt.Errorf("%s denies nothing", binding.Name)
			}
			bindings["validating "+binding.Spec.PolicyName] = append(bindings["validating "+binding.Spec.PolicyName], binding.Spec.MatchResources)
		case "MutatingAdmissionPolicyBinding":
			var binding admissionv1.MutatingAdmissionPolicyBinding
			if err := json.Unmarshal(text, &binding); err != nil {
				return err
			}
			bindings["mutating "+binding.Spec.PolicyName] = append(bindings["mutating "+binding.Spec.PolicyName], binding.Spec.MatchResources)
		}
		return nil
	})
	for _, one := range policies.validating {
		one.bindings = bindings["validating "+one.name]
	}
	for _, one := range policies.mutating {
		one.bindings = bindings["mutating "+one.name]
	}
	if err == nil && len(policies.validating)+len(policies.mutating) == 0 {
		err = errors.New("there are no policies")
	}
	return policies, err
}

func compiler() (*plugincel.CompositedCompiler, error) {
	return plugincel.NewCompositedCompiler(environment.MustBaseEnvSet(environment.DefaultCompatibilityVersion()))
}

func conditionsOf(all []admissionv1.MatchCondition) []plugincel.ExpressionAccessor {
	var expressions []plugincel.ExpressionAccessor
	for _, condition := range all {
		expressions = append(expressions, &expression{condition.Expression, []*cel.Type{cel.BoolType}})
	}
	return expressions
}

func (p *Policies) addValidating(text []byte) error {
	var read admissionv1.ValidatingAdmissionPolicy
	if err := json.Unmarshal(text, &read); err != nil {
		return err
	}
	if len(read.Spec.Variables)+len(read.Spec.AuditAnnotations) > 0 || read.Spec.ParamKind != nil || read.Spec.FailurePolicy == nil || *read.Spec.FailurePolicy != admissionv1.Fail {
		return fmt.Errorf("%s has what is not played here", read.Name)
	}
	compiler, err := compiler()
	if err != nil {
		return err
	}
	var validations, messages []plugincel.ExpressionAccessor
	one := &policy{name: read.Name, constraints: read.Spec.MatchConstraints}
	for _, validation := range read.Spec.Validations {
		validations = append(validations, &expression{validation.Expression, []*cel.Type{cel.BoolType}})
		message := validation.MessageExpression
		if message == "" {
			message = `""`
		}
		messages = append(messages, &expression{message, []*cel.Type{cel.StringType}})
		one.texts = append(one.texts, validation.Message)
	}
	withAuthorizer := plugincel.OptionalVariableDeclarations{HasAuthorizer: true}
	one.conditions = compiler.CompileCondition(conditionsOf(read.Spec.MatchConditions), withAuthorizer, environment.NewExpressions)
	one.validations = compiler.CompileCondition(validations, withAuthorizer, environment.NewExpressions)
	one.messages = compiler.CompileCondition(messages, plugincel.OptionalVariableDeclarations{}, environment.NewExpressions)
	p.validating = append(p.validating, one)
	return compiled(read.Name, one.conditions.CompilationErrors(), one.validations.CompilationErrors(), one.messages.CompilationErrors())
}

func (p *Policies) addMutating(text []byte) error {
	var read admissionv1.MutatingAdmissionPolicy
	if err := json.Unmarshal(text, &read); err != nil {
		return err
	}
	if len(read.Spec.Variables) > 0 || read.Spec.ParamKind != nil || read.Spec.FailurePolicy == nil || *read.Spec.FailurePolicy != admissionv1.Fail {
		return fmt.Errorf("%s has what is not played here", read.Name)
	}
	compiler, err := compiler()
	if err != nil {
		return err
	}
	one := &policy{name: read.Name, constraints: read.Spec.MatchConstraints}
	declared := plugincel.OptionalVariableDeclarations{HasAuthorizer: true}
	one.conditions = compiler.CompileCondition(conditionsOf(read.Spec.MatchConditions), declared, environment.NewExpressions)
	faults := [][]error{one.conditions.CompilationErrors()}
	declared.HasPatchTypes = true
	for _, change := range read.Spec.Mutations {
		if change.JSONPatch == nil {
			return fmt.Errorf("%s has what is not played here", read.Name)
		}
		accessor := &expression{change.JSONPatch.Expression, []*cel.Type{cel.ListType(types.NewObjectType(mutation.JSONPatchTypeName))}}
		evaluator := compiler.CompileMutatingEvaluator(accessor, declared, environment.NewExpressions)
		faults = append(faults, evaluator.CompilationErrors())
		one.mutations = append(one.mutations, evaluator)
	}
	p.mutating = append(p.mutating, one)
	return compiled(read.Name, faults...)
}

func compiled(name string, faults ...[]error) error {
	if err := errors.Join(slices.Concat(faults...)...); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// bound says whether a request is one for the policy: by its constraints, those of one of its bindings, and its conditions.
func (p *policy) bound(c *Case, attributes *admission.VersionedAttributes, namespace *corev1.Namespace) (bool, error) {
	for _, binding := range p.bindings {
		matched, err := matches([]*admissionv1.MatchResources{p.constraints, binding}, attributes, namespace)
		if err != nil || !matched {
			if err != nil {
				return false, err
			}
			continue
		}
		// As the API server does it, conditions have no namespaceObject.
		results, _, err := p.conditions.ForInput(context.Background(), attributes, request(attributes), bindingsOf(c), nil, celconfig.RuntimeCELCostBudgetMatchConditions)
		if err != nil {
			return false, err
		}
		for _, result := range results {
			if result.Error != nil {
				return false, result.Error
			}
			if result.EvalResult != types.True {
				return false, nil
			}
		}
		return true, nil
	}
	return false, nil
}

func bindingsOf(c *Case) plugincel.OptionalVariableBindings {
	return plugincel.OptionalVariableBindings{Authorizer: may(c.May)}
}

// validate says which policies refuse the request, in the order of their names.
func (p *Policies) validate(c *Case, object map[string]interface{}) ([]string, []string, error) {
	attributes, namespace := c.attributes(object)
	var refused, messages []string
	for _, one := range p.validating {
		bound, err := one.bound(c, attributes, namespace)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", one.name, err)
		}
		if !bound {
			continue
		}
		evaluate := func(evaluator plugincel.ConditionEvaluator) ([]plugincel.EvaluationResult, error) {
			results, _, err := evaluator.ForInput(context.Background(), attributes, request(attributes), bindingsOf(c), plugincel.CreateNamespaceObject(namespace), celconfig.RuntimeCELCostBudget)
			return results, err
		}
		results, err := evaluate(one.validations)
		if err != nil {
			return nil, nil, err
		}
		for index, result := range results {
			if result.Error != nil {
				return nil, nil, fmt.Errorf("%s: %w", one.name, result.Error)
			}
			if result.EvalResult == types.True {
				continue
			}
			one.met = true
			refused = append(refused, one.name)
			message := one.texts[index]
			if message == "" {
				said, err := evaluate(one.messages)
				if err != nil {
					return nil, nil, err
				}
				if said[index].Error != nil {
					return nil, nil, fmt.Errorf("%s: %w", one.name, said[index].Error)
				}
				message, _ = said[index].EvalResult.Value().(string)
			}
			messages = append(messages, message)
		}
	}
	slices.Sort(refused)
	return slices.Compact(refused), messages, nil
}

// mutate gives the object as the mutating policies leave it.
func (p *Policies) mutate(c *Case) (map[string]interface{}, error) {
	object := c.Object
	for _, one := range p.mutating {
		attributes, namespace := c.attributes(object)
		bound, err := one.bound(c, attributes, namespace)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", one.name, err)
		}
		if !bound {
			continue
		}
		for _, change := range one.mutations {
			result, _, err := change.ForInput(context.Background(), attributes, request(attributes), bindingsOf(c), plugincel.CreateNamespaceObject(namespace), celconfig.RuntimeCELCostBudget)
			if err == nil {
				err = result.Error
			}
			if err != nil {
				return nil, fmt.Errorf("%s: %w", one.name, err)
			}
			operations, err := operationsOf(result.EvalResult.(traits.Lister))
			if err != nil {
				return nil, err
			}
			if object, err = patched(object, operations); err != nil {
				return nil, err
			}
			one.met = true
		}
	}
	return object, nil
}

func operationsOf(list traits.Lister) (jsonpatch.Patch, error) {
	var operations jsonpatch.Patch
	for at := list.Iterator(); at.HasNext() == types.True; {
		native, err := at.Next().ConvertToNative(reflect.TypeFor[*mutation.JSONPatchVal]())
		if err != nil {
			return nil, err
		}
		patch := native.(*mutation.JSONPatchVal)
		value, err := patch.Val.ConvertToNative(reflect.TypeFor[*structpb.Value]())
		if err != nil {
			return nil, err
		}
		raw := func(value any) *json.RawMessage {
			text, _ := json.Marshal(value)
			message := json.RawMessage(text)
			return &message
		}
		operations = append(operations, jsonpatch.Operation{"op": raw(patch.Op), "path": raw(patch.Path), "value": raw(value)})
	}
	return operations, nil
}

// request is what expressions see of it.
func request(attributes *admission.VersionedAttributes) *requestv1.AdmissionRequest {
	gvr, gvk := attributes.GetResource(), attributes.GetKind()
	return plugincel.CreateAdmissionRequest(attributes.Attributes, metav1.GroupVersionResource(gvr), metav1.GroupVersionKind(gvk))
}
