using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.Diagnostics;
using Microsoft.CodeAnalysis.Operations;

namespace SafePool.Analyzers;

/// <summary>SFP0007: <c>RentAsync().Result</c> and its kin.</summary>
[DiagnosticAnalyzer(LanguageNames.CSharp)]
public sealed class BlockingRentAnalyzer() : PoolAnalyzer(Rules.Blocking)
{
    private protected override void Register(CompilationStartAnalysisContext context, PoolTypes types)
        => context.OnRent(
            (operation, call) =>
            {
                if (call.TargetMethod.Name is "RentAsync" or "OpenConnectionAsync" && types.IsRent(call) && Blocks(call) is { } blocking)
                {
                    var name = call.TargetMethod.Name;
                    operation.ReportDiagnostic(Diagnostic.Create(
                        Rules.Blocking, blocking.Syntax.GetLocation(), name, name == "RentAsync" ? "Rent" : "OpenConnection"));
                }
            });

    /// <summary>The outermost operation that waits for a call, if one does.</summary>
    private static IOperation? Blocks(IInvocationOperation call)
    {
        for (IOperation value = call, parent = call.Parent!; ; value = parent, parent = parent.Parent!)
        {
            switch (parent)
            {
                case IConversionOperation or IParenthesizedOperation:
                case IInvocationOperation { TargetMethod.Name: "AsTask" or "ConfigureAwait" or "Preserve" or "GetAwaiter" } step when step.Instance == value:
                    continue;
                case IInvocationOperation { TargetMethod.Name: "GetResult" or "Wait" } wait when wait.Instance == value:
                    return wait;
                case IPropertyReferenceOperation { Property.Name: "Result" } result when result.Instance == value:
                    return result;
                default:
                    return null;
            }
        }
    }
}
