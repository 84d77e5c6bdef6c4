// Evaluates admission policies on sample requests, with the CEL environment, the compiler and the rules' matcher of the Kubernetes API server itself.
//
//	admission CASES < MANIFESTS
//
// Every expression is compiled as for a policy that is stored. A request goes through the mutating policies and then through the validating ones, as in
// the API server; each case says what has to come of it. Exit code 1 if a case ends in another way, or a policy is never met by one.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	jsonpatch "github.com/evanphx/json-patch/v5"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/admission/plugin/webhook/predicates/rules"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	sigsyaml "sigs.k8s.io/yaml"
)

// Case is a request and what has to come of it.
type Case struct {
	Name      string `json:"name"`
	Operation string `json:"operation"`
	// GROUP/VERSION/RESOURCE[/SUBRESOURCE], GROUP empty for the core.
	Resource  string     `json:"resource"`
	Kind      string     `json:"kind"`
	Namespace *Namespace `json:"namespace"`
	User      string     `json:"user"`
	May       []string   `json:"may"`
	// The request itself has no name, as one that deletes a collection.
	Unnamed   bool                   `json:"unnamed"`
	Object    map[string]interface{} `json:"object"`
	OldObject map[string]interface{} `json:"oldObject"`
	// Expected: the policies that refuse it, and the class that it ends up with.
	RefusedBy []string `json:"refusedBy"`
	Message   string   `json:"message"`
	Class     *string  `json:"class"`
}

// Namespace of a request.
type Namespace struct {
	Name   string            `json:"name"`
	Labels map[string]string `json:"labels"`
}

// may is an authorizer that allows what a case lists, as VERB:GROUP/RESOURCE.
type may []string

func (m may) Authorize(_ context.Context, a authorizer.Attributes) (authorizer.Decision, string, error) {
	asked := a.GetVerb() + ":" + a.GetAPIGroup() + "/" + a.GetResource()
	if slices.Contains(m, asked) || slices.Contains(m, "*") {
		return authorizer.DecisionAllow, "", nil
	}
	return authorizer.DecisionNoOpinion, "", nil
}

func main() {
	failed, err := run()
	if err != nil {
		fmt.Fprintln(os.Stderr, "admission:", err)
		os.Exit(2)
	}
	if failed > 0 {
		os.Exit(1)
	}
}

func run() (int, error) {
	cases, err := readCases(os.Args[1])
	if err != nil {
		return 0, err
	}
	policies, err := readPolicies(os.Stdin)
	if err != nil {
		return 0, err
	}
	passed, failed := 0, 0
	for _, one := range cases {
		if err := one.check(policies); err != nil {
			failed++
			fmt.Printf("test admission %s ... FAILED\n  %v\n", one.Name, err)
			continue
		}
		passed++
		fmt.Printf("test admission %s ... ok\n", one.Name)
	}
	for _, name := range policies.unmet() {
		failed++
		fmt.Printf("test admission %s has a case that it refuses or changes ... FAILED\n", name)
	}
	fmt.Printf("test result: %s. %d passed; %d failed; 0 ignored\n", map[bool]string{true: "ok", false: "FAILED"}[failed == 0], passed, failed)
	return failed, nil
}

func readCases(path string) ([]Case, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var cases []Case
	return cases, sigsyaml.UnmarshalStrict(text, &cases)
}

// documents calls with each document's kind and its text as JSON.
func documents(from io.Reader, each func(kind string, text []byte) error) error {
	decoder := yaml.NewYAMLOrJSONDecoder(from, 4096)
	for {
		var document json.RawMessage
		if err := decoder.Decode(&document); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		var meta metav1.TypeMeta
		if err := json.Unmarshal(document, &meta); err != nil {
			return err
		}
		if err := each(meta.Kind, document); err != nil {
			return err
		}
	}
}

// attributes are the request's as the API server has them.
func (c *Case) attributes(object map[string]interface{}) (*admission.VersionedAttributes, *corev1.Namespace) {
	parts := strings.Split(c.Resource, "/")
	gvr := schema.GroupVersionResource{Group: parts[0], Version: parts[1], Resource: parts[2]}
	sub := strings.Join(parts[3:], "/")
	gvk := schema.GroupVersionKind{Group: parts[0], Version: parts[1], Kind: c.Kind}
	var namespace *corev1.Namespace
	inNamespace, name := "", ""
	if c.Namespace != nil {
		inNamespace = c.Namespace.Name
		all := map[string]string{"kubernetes.io/metadata.name": c.Namespace.Name}
		for key, value := range c.Namespace.Labels {
			all[key] = value
		}
		namespace = &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: c.Namespace.Name, Labels: all}}
	}
	unstructuredOf := func(object map[string]interface{}) *unstructured.Unstructured {
		made := &unstructured.Unstructured{Object: object}
		made.SetGroupVersionKind(gvk)
		if !c.Unnamed {
			name = made.GetName()
		}
		return made
	}
	attributes := &admission.VersionedAttributes{VersionedKind: gvk}
	info := &user.DefaultInfo{Name: c.User, Groups: []string{"system:authenticated"}}
	var current, old *unstructured.Unstructured
	if object != nil {
		current = unstructuredOf(object)
		attributes.VersionedObject = current
	}
	if c.OldObject != nil {
		old = unstructuredOf(c.OldObject)
		attributes.VersionedOldObject = old
	}
	record := func() admission.Attributes {
		operation := admission.Operation(c.Operation)
		switch {
		case current != nil && old != nil:
			return admission.NewAttributesRecord(current, old, gvk, inNamespace, name, gvr, sub, operation, nil, false, info)
		case current != nil:
			return admission.NewAttributesRecord(current, nil, gvk, inNamespace, name, gvr, sub, operation, nil, false, info)
		default:
			return admission.NewAttributesRecord(nil, old, gvk, inNamespace, name, gvr, sub, operation, nil, false, info)
		}
	}
	attributes.Attributes = record()
	return attributes, namespace
}

// matches says whether the request is one that the constraints of a policy and of its binding are about.
func matches(constraints []*admissionv1.MatchResources, attributes *admission.VersionedAttributes, namespace *corev1.Namespace) (bool, error) {
	for _, match := range constraints {
		if match == nil {
			continue
		}
		var of labels.Set
		switch {
		case namespace != nil:
			of = namespace.Labels
		case attributes.GetResource().Resource == "namespaces" && attributes.VersionedObject != nil:
			of = attributes.VersionedObject.(*unstructured.Unstructured).GetLabels()
		}
		selector, err := metav1.LabelSelectorAsSelector(match.NamespaceSelector)
		if err != nil {
			return false, err
		}
		// What is in no namespace is not selected by one.
		if match.NamespaceSelector != nil && of != nil && !selector.Matches(of) {
			return false, nil
		}
		if match.ObjectSelector != nil {
			return false, fmt.Errorf("objectSelector is not played here")
		}
		if len(match.ResourceRules) > 0 && !meets(match.ResourceRules, attributes) || meets(match.ExcludeResourceRules, attributes) {
			return false, nil
		}
	}
	return true, nil
}

func meets(named []admissionv1.NamedRuleWithOperations, attributes *admission.VersionedAttributes) bool {
	return slices.ContainsFunc(named, func(rule admissionv1.NamedRuleWithOperations) bool {
		matcher := rules.Matcher{Rule: rule.RuleWithOperations, Attr: attributes}
		return matcher.Matches() && (len(rule.ResourceNames) == 0 || slices.Contains(rule.ResourceNames, attributes.GetName()))
	})
}

func (c *Case) check(policies *Policies) error {
	object, err := policies.mutate(c)
	if err != nil {
		return err
	}
	refused, messages, err := policies.validate(c, object)
	if err != nil {
		return err
	}
	slices.Sort(c.RefusedBy)
	if !slices.Equal(refused, c.RefusedBy) {
		return fmt.Errorf("refused by %v, expected %v: %v", refused, c.RefusedBy, messages)
	}
	if c.Message != "" && !slices.ContainsFunc(messages, func(message string) bool { return strings.Contains(message, c.Message) }) {
		return fmt.Errorf("no message says %q: %q", c.Message, messages)
	}
	if c.Class != nil {
		class, _, _ := unstructured.NestedString(object, "spec", "runtimeClassName")
		if class != *c.Class {
			return fmt.Errorf("ends up with the class %q, expected %q", class, *c.Class)
		}
	}
	return nil
}

// patched applies RFC 6902 operations.
func patched(object map[string]interface{}, operations jsonpatch.Patch) (map[string]interface{}, error) {
	text, err := json.Marshal(object)
	if err != nil {
		return nil, err
	}
	if text, err = operations.Apply(text); err != nil {
		return nil, err
	}
	var result map[string]interface{}
	return result, json.Unmarshal(text, &result)
}
