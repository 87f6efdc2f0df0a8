using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.Diagnostics;
using Microsoft.CodeAnalysis.Operations;

namespace SafePool.Analyzers;

/// <summary>SFP0001: what is rented and dies, or may be lost before it is returned. Silent where somebody else may own it.</summary>
[DiagnosticAnalyzer(LanguageNames.CSharp)]
public sealed class NotReturnedAnalyzer() : PoolAnalyzer(Rules.NotReturned)
{
    private protected override void Register(CompilationStartAnalysisContext context, PoolTypes types)
        => context.OnCall(PoolTypes.MayAcquire,
            (operation, call) =>
            {
                if (types.IsAcquisition(call) && WhyLost(call, types.Handed(call)) is { } why)
                {
                    var what = call.TargetMethod.Name.StartsWith("OpenConnection", StringComparison.Ordinal) ? "This connection" : "This lease";
                    operation.ReportDiagnostic(Diagnostic.Create(Rules.NotReturned, call.Syntax.GetLocation(), what, why));
                }
            });

    private static string? WhyLost(IInvocationOperation rent, IArgumentOperation? handed)
    {
        if (handed is not null)
        {
            return handed.Value switch
            {
                IDiscardOperation => "it is discarded",
                IDeclarationExpressionOperation { Expression: IDiscardOperation } => "it is discarded",
                IDeclarationExpressionOperation { Expression: ILocalReferenceOperation local } => LeaseLocal.WhyLost(local.Local, rent),
                ILocalReferenceOperation local => LeaseLocal.WhyLost(local.Local, rent),
                _ => null,
            };
        }

        var destination = Destination.Of(rent);
        return destination.Fate switch
        {
            Fate.Discarded => "it is discarded",
            Fate.Used when destination.Member.Length > 0 => $"only '{destination.Member}' of it is used, and nothing keeps it",
            Fate.Kept => LeaseLocal.WhyLost(destination.Local!, destination.At),
            _ => null,
        };
    }
}
