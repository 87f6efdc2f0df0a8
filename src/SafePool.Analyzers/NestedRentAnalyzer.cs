using System.Collections.Concurrent;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.Diagnostics;
using Microsoft.CodeAnalysis.Operations;

namespace SafePool.Analyzers;

/// <summary>SFP0004: a rent from a pool of which the same method holds a lease, itself or through a method that it calls.</summary>
[DiagnosticAnalyzer(LanguageNames.CSharp)]
public sealed class NestedRentAnalyzer() : PoolAnalyzer(Rules.Nested)
{
    private protected override void Register(CompilationStartAnalysisContext context, PoolTypes types)
    {
        // Which pools a method rents from, and which calls are made with a lease in hand; put together when all is known.
        var rents = new ConcurrentDictionary<(IMethodSymbol Method, ISymbol Pool), bool>(PairComparer.Instance);
        var calls = new ConcurrentBag<(IMethodSymbol Callee, Location Place, ISymbol Pool)>();
        context.OnRent(
            (operation, rent) =>
            {
                if (!types.IsRent(rent) || PoolOf(rent) is not { } pool)
                {
                    return;
                }

                if (operation.ContainingSymbol is IMethodSymbol method && rent.TargetMethod.Name != "TryRent" && rent.Function() is null)
                {
                    rents.TryAdd((method, pool), true);
                }

                foreach (var call in HeldRegion.Of(rent)?.Operations().OfType<IInvocationOperation>() ?? Enumerable.Empty<IInvocationOperation>())
                {
                    if (!types.IsRent(call))
                    {
                        // On the same object, or in a static world: another object has another pool.
                        if (call.Instance is null or IInstanceReferenceOperation)
                        {
                            calls.Add((call.TargetMethod.OriginalDefinition, call.Syntax.GetLocation(), pool));
                        }
                    }
                    else if (call.TargetMethod.Name != "TryRent" && SymbolEqualityComparer.Default.Equals(PoolOf(call), pool))
                    {
                        operation.ReportDiagnostic(Diagnostic.Create(Rules.Nested, call.Syntax.GetLocation(), pool.Name, ""));
                    }
                }
            });
        context.RegisterCompilationEndAction(end =>
        {
            foreach (var (callee, place, pool) in calls)
            {
                if (rents.ContainsKey((callee, pool)))
                {
                    end.ReportDiagnostic(Diagnostic.Create(Rules.Nested, place, pool.Name, $" (by '{callee.Name}', which it calls)"));
                }
            }
        });
    }

    /// <summary>The variable, field, property or parameter that the pool is taken from; null where that may be another each time.</summary>
    private static ISymbol? PoolOf(IInvocationOperation rent) => rent.Instance switch
    {
        IFieldReferenceOperation { Instance: null or IInstanceReferenceOperation } field => field.Field,
        IPropertyReferenceOperation { Instance: null or IInstanceReferenceOperation } property => property.Property,
        IParameterReferenceOperation parameter => parameter.Parameter,
        ILocalReferenceOperation local => local.Local,
        _ => null,
    };

    private sealed class PairComparer : IEqualityComparer<(IMethodSymbol Method, ISymbol Pool)>
    {
        public static readonly PairComparer Instance = new();

        public bool Equals((IMethodSymbol Method, ISymbol Pool) x, (IMethodSymbol Method, ISymbol Pool) y)
            => SymbolEqualityComparer.Default.Equals(x.Method, y.Method) && SymbolEqualityComparer.Default.Equals(x.Pool, y.Pool);

        public int GetHashCode((IMethodSymbol Method, ISymbol Pool) pair)
            => (SymbolEqualityComparer.Default.GetHashCode(pair.Method) * 31) + SymbolEqualityComparer.Default.GetHashCode(pair.Pool);
    }
}
