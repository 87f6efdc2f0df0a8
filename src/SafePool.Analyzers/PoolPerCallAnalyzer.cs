using System.Collections.Immutable;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.CSharp.Syntax;
using Microsoft.CodeAnalysis.Diagnostics;
using Microsoft.CodeAnalysis.Operations;

namespace SafePool.Analyzers;

/// <summary>SFP0006: a pool that does not live as long as the process.</summary>
/// <remarks>Silent in Main and in tests, where a method is a process's life, and where the pool leaves the method.</remarks>
[DiagnosticAnalyzer(LanguageNames.CSharp)]
public sealed class PoolPerCallAnalyzer() : PoolAnalyzer(Rules.PoolPerCall)
{
    private static readonly ImmutableHashSet<string> _perRequest = ImmutableHashSet.Create(
        "MapGet", "MapPost", "MapPut", "MapDelete", "MapPatch", "MapMethods", "Map", "Use", "Run");

    private protected override void Register(CompilationStartAnalysisContext context, PoolTypes types)
    {
        var main = context.Compilation.GetEntryPoint(context.CancellationToken);
        context.OnCall((name, _) => name == "Create", (node, call) => Look(node, call));
        context.RegisterSyntaxNodeAction(
            node =>
            {
                if (node.Node is ImplicitObjectCreationExpressionSyntax || ((ObjectCreationExpressionSyntax)node.Node).Type.ToString().EndsWith("ConnectionPool", StringComparison.Ordinal))
                {
                    Look(node, node.SemanticModel.GetOperation(node.Node, node.CancellationToken));
                }
            },
            SyntaxKind.ObjectCreationExpression,
            SyntaxKind.ImplicitObjectCreationExpression);

        void Look(SyntaxNodeAnalysisContext node, IOperation? operation)
        {
            if (operation is not null && types.IsCreation(operation) && When(operation, node.ContainingSymbol!, main) is { } when)
            {
                node.ReportDiagnostic(Diagnostic.Create(Rules.PoolPerCall, operation.Syntax.GetLocation(), when));
            }
        }
    }

    private static string? When(IOperation creation, ISymbol containing, IMethodSymbol? main)
    {
        for (var operation = creation.Parent; operation is not null; operation = operation.Parent)
        {
            if (operation is IAnonymousFunctionOperation function)
            {
                return Registration(function) is { } name ? $"whenever the function given to '{name}' runs" : null;
            }

            if (operation is ILocalFunctionOperation)
            {
                return null;
            }
        }

        return containing is IMethodSymbol { MethodKind: MethodKind.Ordinary } method
            && !SymbolEqualityComparer.Default.Equals(method, main)
            && !IsTest(method)
            && EndsHere(creation)
                ? $"by every call of '{method.Name}'"
                : null;
    }

    /// <summary>The call that takes a function which runs once per request or per scope.</summary>
    private static string? Registration(IAnonymousFunctionOperation function)
    {
        for (var operation = function.Parent; operation is not null; operation = operation.Parent)
        {
            switch (operation)
            {
                case IDelegateCreationOperation or IConversionOperation or IArgumentOperation:
                    continue;
                case IInvocationOperation { TargetMethod: var target }:
                    return target.Name.Contains("Transient") || target.Name.Contains("Scoped")
                        || (_perRequest.Contains(target.Name) && target.ContainingNamespace.ToDisplayString().StartsWith("Microsoft.AspNetCore", StringComparison.Ordinal))
                            ? target.Name
                            : null;
                default:
                    return null;
            }
        }

        return null;
    }

    /// <summary>Tests and benchmarks have attributes; what they call has not, and is not known.</summary>
    private static bool IsTest(IMethodSymbol method)
        => method.GetAttributes().Any(attribute => attribute.AttributeClass?.Name is { } name
            && (name.Contains("Fact") || name.Contains("Theory") || name.Contains("Test") || name.Contains("Benchmark") || name.Contains("Setup")));

    /// <summary>Whether the pool is disposed by the method that made it.</summary>
    private static bool EndsHere(IOperation creation)
    {
        var destination = Destination.Of(creation);
        return destination.Fate is Fate.Using or Fate.Disposed or Fate.Used or Fate.Discarded;
    }
}
